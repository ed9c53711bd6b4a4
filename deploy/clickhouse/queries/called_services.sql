-- Which services are called by which workloads, and how much of that leaves the zone? Counts from the caller's side: of the
-- rows of a connection, only the caller's names the service. Assumes that services' addresses are dialled from inside the
-- cluster; a connection straight to a pod, as through a headless service, names none.
-- Needs 002_extended_columns.sql.
SELECT
    remoteService AS service,
    localNamespace AS namespace,
    localWorkload AS caller,
    uniqExact(localIPv4, localIPv6, localPort) AS connections,
    sum(bytes) AS moved,
    sumIf(bytes, localAvailabilityZone != '' AND remoteAvailabilityZone NOT IN ('', localAvailabilityZone)) AS across_zones
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND remoteService != ''
GROUP BY service, namespace, caller
ORDER BY moved DESC, service
LIMIT 50
