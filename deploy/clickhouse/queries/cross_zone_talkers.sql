-- Which workloads send most across zones? Only `out` is looked at: of two pods in different zones both nodes report, and so
-- every byte is counted once, with its sender.
SELECT
    localNamespace AS namespace,
    localApp AS app,
    localAvailabilityZone AS from_zone,
    remoteNamespace AS peer_namespace,
    remoteApp AS peer_app,
    remoteAvailabilityZone AS to_zone,
    sum(bytes) AS sent,
    formatReadableSize(sent) AS sent_readable
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND direction = 'out'
    AND localAvailabilityZone != '' AND remoteAvailabilityZone != ''
    AND localAvailabilityZone != remoteAvailabilityZone
GROUP BY namespace, app, from_zone, peer_namespace, peer_app, to_zone
ORDER BY sent DESC, app, peer_app
LIMIT 20
