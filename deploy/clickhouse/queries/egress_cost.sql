-- What does each workload's traffic cost, by kind? Edit the prices: US dollars for 2^30 bytes, here AWS' list prices for the
-- first 10 TB of a month in Frankfurt. Bytes across zones cost at either end, bytes to other regions and to the Internet
-- where they leave. Where a visitor came through another node's port, the row's local end is the visitor and the workload
-- the remote one.
WITH
    localNode = '' AND remoteNode != '' AS is_turned,
    prices AS
    (
        SELECT *
        FROM values(
            'kind String, way String, price Float64',
            ('other zone', 'out', 0.01),
            ('other zone', 'in', 0.01),
            ('other region', 'out', 0.02),
            ('Internet', 'out', 0.09))
    ),
    traffic AS
    (
        SELECT
            if(is_turned, remoteNamespace, localNamespace) AS namespace,
            if(is_turned, remoteApp, localApp) AS app,
            multiIf(
                connectionClass = 'PUBLIC_INTERNET', 'Internet',
                connectionClass = 'INTER_REGION', 'other region',
                localAvailabilityZone != '' AND remoteAvailabilityZone != ''
                    AND localAvailabilityZone != remoteAvailabilityZone, 'other zone',
                'free') AS kind,
            if((direction = 'out') != is_turned, 'out', 'in') AS way,
            sum(bytes) AS moved
        FROM network_flows_0
        WHERE intervalStartTime >= now() - INTERVAL 30 DAY
        GROUP BY namespace, app, kind, way
    )
SELECT namespace, app, kind, way, moved, round(moved / pow(2, 30) * price, 4) AS usd
FROM traffic
INNER JOIN prices USING (kind, way)
ORDER BY usd DESC, namespace, app, kind, way
LIMIT 50
