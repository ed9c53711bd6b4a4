-- What does each workload's traffic cost, by kind, where its cloud charges for it? Edit the prices: US dollars for 2^30 bytes
-- by cloud, region ('*' stands for every region without a price of its own) and kind. Here are list prices as published in
-- 2025, those of the first paid tier of a month: aws.amazon.com/ec2/pricing/on-demand, cloud.google.com/vpc/network-pricing
-- (premium tier), azure.microsoft.com/pricing/details/bandwidth (Azure has not charged for traffic across zones since 2024).
-- "region" is another region: of AWS any, of the others one on the same continent. AWS charges both ends of a byte across
-- zones, Google its sender; what comes from other regions and the Internet is free with all three, and left out, as is what
-- has the price 0. Where the cloud or the region is not in the list, the row says "no price".
--
-- Where the local end is no pod (a visitor through another node's port, a node), the workload is the remote one, and pays for
-- both ends of what crosses zones between the node that was entered and its pod. A row that is `translated` is both pods': the
-- other node has none of the two. A pod's other rows about another node repeat one of these and are left out.
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
