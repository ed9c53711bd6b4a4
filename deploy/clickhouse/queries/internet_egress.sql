-- Which workloads send how much to the Internet, and to how many addresses? Edit the price: US dollars for 2^30 bytes.
WITH 0.09 AS price
SELECT
    localNamespace AS namespace,
    localApp AS app,
    sum(bytes) AS sent,
    round(sent / pow(2, 30) * price, 4) AS usd,
    uniqExact(remoteIPv4) AS addresses,
    argMax(remoteIPv4, bytes) AS largest_minute_to
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND connectionClass = 'PUBLIC_INTERNET'
    AND direction = 'out'
GROUP BY namespace, app
ORDER BY sent DESC
LIMIT 20
