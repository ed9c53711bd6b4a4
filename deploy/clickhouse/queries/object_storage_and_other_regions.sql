-- Which pods download from or upload to S3, other services of the cloud, or other regions? INTER_REGION costs money: a
-- bucket in the wrong region appears as an S3 row of another region. For an external client through another node's port,
-- region and service are not stored.
WITH localPod = '' AND remotePod != '' AS is_turned
SELECT
    if(is_turned, remoteNamespace, localNamespace) AS namespace,
    if(is_turned, remotePod, localPod) AS pod,
    connectionClass AS class,
    if(is_turned, '', remoteRegion) AS region,
    remoteCloudService AS service,
    sumIf(bytes, (direction = 'in') != is_turned) AS pulled,
    sumIf(bytes, (direction = 'out') != is_turned) AS pushed,
    uniqExact(if(is_turned, localIPv4, remoteIPv4)) AS addresses
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND connectionClass IN ('INTRA_REGION', 'INTER_REGION')
GROUP BY namespace, pod, class, region, service
ORDER BY class = 'INTER_REGION' DESC, pulled + pushed DESC
LIMIT 50
