-- Which services are called by which workloads, and how much of that leaves the zone? Counts from the caller's side.
-- Needs 002_extended_columns.sql.
SELECT
    remoteService AS service,
    localNamespace AS namespace,
    localWorkload AS caller,
    uniqExact(localIPv4, localIPv6, localPort) AS connections,
    sum(bytes) AS moved,
    sumIf(bytes, localAvailabilityZone != remoteAvailabilityZone) AS across_zones
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND remoteService != ''
    AND localPort > remotePort
GROUP BY service, namespace, caller
ORDER BY moved DESC, service
LIMIT 50
