-- Which namespace talks to which, each byte counted once? What a set of network policies has to allow. Bytes that arrive
-- from an end that no agent reports (the Internet, a cloud's service) are taken from the receiver's row, all others from
-- the sender's.
WITH
    if(localNamespace = '', connectionClass, localNamespace) AS here,
    if(remoteNamespace = '', connectionClass, remoteNamespace) AS there
SELECT
    if(direction = 'out', here, there) AS from_namespace,
    if(direction = 'out', there, here) AS to_namespace,
    sum(bytes) AS moved,
    round(100 * moved / sum(moved) OVER (), 1) AS percent
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND (direction = 'out' OR localNode = '' OR remoteNode IN ('', localNode))
GROUP BY from_namespace, to_namespace
ORDER BY moved DESC, from_namespace, to_namespace
LIMIT 100
