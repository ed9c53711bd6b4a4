-- Which pods pull from, or push to, the cloud's own services such as S3, and other regions? INTER_REGION is what costs:
-- a bucket in the wrong region shows here as an S3 row of another region.
SELECT
    localNamespace AS namespace,
    localPod AS pod,
    connectionClass AS class,
    remoteRegion AS region,
    remoteCloudService AS service,
    sumIf(bytes, direction = 'in') AS pulled,
    sumIf(bytes, direction = 'out') AS pushed,
    uniqExact(remoteIPv4) AS addresses
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND connectionClass IN ('INTRA_REGION', 'INTER_REGION')
GROUP BY namespace, pod, class, region, service
ORDER BY class = 'INTER_REGION' DESC, pulled + pushed DESC
LIMIT 50
