-- Which pods exchange the most bytes with which peers, and how far do the bytes travel? Covers the last day. A flow
-- between two nodes is observed on both nodes: each reports it with its own pod as the local end.
SELECT
    if(localPod = '', toString(localIPv4), concat(localNamespace, '/', localPod)) AS pod,
    localAvailabilityZone AS zone,
    if(remotePod = '', toString(remoteIPv4), concat(remoteNamespace, '/', remotePod)) AS peer,
    if(remotePod = '', trim(concat(remoteRegion, ' ', remoteCloudService)), remoteAvailabilityZone) AS peer_place,
    connectionClass AS class,
    proto,
    formatReadableSize(sumIf(bytes, direction = 'out')) AS sent,
    formatReadableSize(sumIf(bytes, direction = 'in')) AS received
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
GROUP BY pod, zone, peer, peer_place, class, proto
ORDER BY sum(bytes) DESC
LIMIT 15
