-- Which addresses have no labels? Lists private addresses that are neither a pod nor a node (virtual machines, other
-- clusters, services outside Kubernetes), and addresses without a class. To label an address, add it to `ranges` or to
-- the inventory. No column says which end opened a connection: of each connection the lower port, which is usually the
-- server's, is counted, and the three most frequent ports are shown.
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
