-- Which workloads send most to other zones? Each byte counts once, by the rule of 004_rollup_hourly.sql: in its sender's
-- row or, if only one node reports it, in that node's row. The second case covers traffic from an external database that
-- has a zone in `ranges`, and both directions between an external client's entry node and a pod of another node.
WITH if(remoteApp = '', remoteCloudService, remoteApp) AS remote_name
SELECT
    if(direction = 'out', localNamespace, remoteNamespace) AS namespace,
    if(direction = 'out', localApp, remote_name) AS app,
    if(direction = 'out', localAvailabilityZone, remoteAvailabilityZone) AS from_zone,
    if(direction = 'out', remoteNamespace, localNamespace) AS peer_namespace,
    if(direction = 'out', remote_name, localApp) AS peer_app,
    if(direction = 'out', remoteAvailabilityZone, localAvailabilityZone) AS to_zone,
    sum(bytes) AS sent,
    formatReadableSize(sent) AS sent_readable
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND localAvailabilityZone != '' AND remoteAvailabilityZone NOT IN ('', localAvailabilityZone)
    AND (connectionClass IN ('INTRA_VPC', 'INTRA_REGION') OR remoteNode != '')
    AND multiIf(
        remoteNode IN ('', localNode), true,
        remotePod != '', direction = 'out' OR localPod = '' OR connectionFlags['translated'],
        direction = 'out' AND (localPod = '' OR connectionFlags['translated']))
GROUP BY namespace, app, from_zone, peer_namespace, peer_app, to_zone
ORDER BY sent DESC, app, peer_app
LIMIT 20
