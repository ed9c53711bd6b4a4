-- What could not be named? Private addresses that are neither a pod nor a node (virtual machines, other clusters, services
-- outside Kubernetes: give them a name under `ranges` or in the inventory), and what has no class. Who opened a connection is
-- not stored: of the lower ports of each pair of ends, which are mostly the servers', the most frequent are shown.
SELECT
    connectionClass AS class,
    toString(remoteIPv4) AS address,
    arraySort(topK(3)(least(localPort, remotePort))) AS some_ports,
    arraySort(groupUniqArray(5)(localApp)) AS some_local_apps,
    sum(bytes) AS moved,
    round(100 * moved / (SELECT sum(bytes) FROM network_flows_0 WHERE intervalStartTime >= now() - INTERVAL 1 DAY), 2)
        AS percent_of_all
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND remotePod = '' AND remoteNode = '' AND remoteCloudService = ''
    AND connectionClass IN ('INTRA_VPC', 'UNKNOWN')
GROUP BY class, address
ORDER BY moved DESC
LIMIT 20
