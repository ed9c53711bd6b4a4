-- What does each workload's traffic cost, by kind? Edit the prices: US dollars per 2^30 bytes by cloud, region ('*'
-- stands for every region without a price of its own) and kind. The prices below are list prices as published in 2025,
-- for the first paid tier of a month: aws.amazon.com/ec2/pricing/on-demand, cloud.google.com/vpc/network-pricing (premium
-- tier), azure.microsoft.com/pricing/details/bandwidth (Azure has not charged for traffic across zones since 2024). The
-- kind "region" is traffic to another region: any other region for AWS, one on the same continent for Google and Azure.
-- For traffic across zones, AWS charges both ends and Google the sender. Traffic from other regions and from the Internet
-- is free in all three clouds. The result omits what is free or has the price 0. A row whose cloud or region is not in
-- the list has "no price".
--
-- If the local end is not a pod (an external client through another node's port, or a node), the remote pod's workload
-- pays, for both ends where the entry node and the pod are in different zones. A `translated` row is charged to both
-- pods, because the other node's rows name neither. A pod's other rows with another node as the remote end repeat rows of
-- that node and are omitted.
WITH
    map(
        'aws/*/zone sent', 0.01, 'aws/*/zone received', 0.01,
        'aws/eu-central-1/region', 0.02, 'aws/eu-central-1/Internet', 0.09,
        'aws/eu-west-1/region', 0.02, 'aws/eu-west-1/Internet', 0.09,
        'aws/us-east-1/region', 0.02, 'aws/us-east-1/Internet', 0.09,
        'aws/us-west-2/region', 0.02, 'aws/us-west-2/Internet', 0.09,
        'azure/*/zone sent', 0., 'azure/*/zone received', 0.,
        'azure/eastus/region', 0.02, 'azure/eastus/Internet', 0.087,
        'azure/northeurope/region', 0.02, 'azure/northeurope/Internet', 0.087,
        'azure/westeurope/region', 0.02, 'azure/westeurope/Internet', 0.087,
        'gcp/*/zone sent', 0.01, 'gcp/*/zone received', 0.,
        'gcp/europe-west1/region', 0.02, 'gcp/europe-west1/Internet', 0.12,
        'gcp/europe-west3/region', 0.02, 'gcp/europe-west3/Internet', 0.12,
        'gcp/us-central1/region', 0.02, 'gcp/us-central1/Internet', 0.12
    )::Map(String, Nullable(Float64)) AS prices,
    arrayJoin(multiIf(
        remotePod = '', [false], localPod = '', [true], connectionFlags['translated'], [false, true], [false])) AS is_turned,
    (direction = 'out') != is_turned AS is_sent,
    (direction = 'out') = (remoteNode = '') AS is_outward,
    localAvailabilityZone != '' AND remoteAvailabilityZone NOT IN ('', localAvailabilityZone)
        AND (connectionClass IN ('INTRA_VPC', 'INTRA_REGION') OR remoteNode != '') AS is_across_zones,
    is_turned AND localPod = '' AS is_for_both_ends
SELECT
    if(is_turned, remoteNamespace, localNamespace) AS namespace,
    if(is_turned, remoteApp, localApp) AS app,
    if(is_turned, remoteCloud, localCloud) AS cloud,
    if(is_turned, remoteRegion, localRegion) AS region,
    arrayJoin(arrayConcat(
        if(is_outward AND connectionClass = 'PUBLIC_INTERNET', ['Internet'], []),
        if(is_outward AND connectionClass = 'INTER_REGION', ['region'], []),
        if(is_across_zones AND (is_sent OR is_for_both_ends), ['zone sent'], []),
        if(is_across_zones AND (NOT is_sent OR is_for_both_ends), ['zone received'], []))) AS kind,
    sum(bytes) AS moved,
    coalesce(prices[concat(cloud, '/', region, '/', kind)], prices[concat(cloud, '/*/', kind)]) AS price,
    if(price IS NULL, 'no price', toString(round(moved / pow(2, 30) * price, 4))) AS usd
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 30 DAY
    AND (localPod = '' OR remotePod != '' OR remoteNode IN ('', localNode) OR connectionFlags['translated'])
GROUP BY namespace, app, cloud, region, kind
HAVING moved > 0 AND (price IS NULL OR price > 0)
ORDER BY moved * price DESC NULLS LAST, moved DESC, namespace, app, kind
LIMIT 50 BY price IS NULL
