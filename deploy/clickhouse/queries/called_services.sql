-- Which workloads call which services, and how much of that traffic crosses zones? Counts the caller's rows, the only
-- rows of a connection that name the service. This presumes that services' addresses are called from inside the cluster.
-- A connection directly to a pod, such as through a headless service, has no service.
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
