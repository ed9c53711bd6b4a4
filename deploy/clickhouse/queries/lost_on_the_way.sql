-- Between which pods do packets get lost? Compares the packets that one node saw leave for a pod of another node with
-- those that the other node saw arrive. Fewer arrived than were sent: packets were dropped between the nodes. More
-- arrived than were sent: the agent on the sender's node did not report all of them; check it. The last five minutes are
-- omitted, because the two nodes do not report in the same second.
SELECT
    if(direction = 'out', localNamespace, remoteNamespace) AS from_namespace,
    if(direction = 'out', localPod, remotePod) AS from_pod,
    if(direction = 'out', remotePod, localPod) AS to_pod,
    if(direction = 'out', localNode, remoteNode) AS from_node,
    if(direction = 'out', remoteNode, localNode) AS to_node,
    sumIf(packets, direction = 'out') AS sent,
    sumIf(packets, direction = 'in') AS arrived,
    toInt64(sent) - toInt64(arrived) AS missing,
    round(100 * missing / greatest(sent, arrived), 2) AS percent
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND intervalStartTime < now() - INTERVAL 5 MINUTE
    AND localPod != '' AND remotePod != ''
    AND localNode != remoteNode
    AND NOT connectionFlags['translated']  -- the other node has no such row
GROUP BY from_namespace, from_pod, to_pod, from_node, to_node
HAVING missing != 0
ORDER BY abs(missing) DESC
LIMIT 20
