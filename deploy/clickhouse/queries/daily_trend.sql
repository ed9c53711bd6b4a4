-- How does traffic grow, by class? Each byte counts once. One row per class and day, in UTC, over the last 90 days.
-- Needs 004_rollup_hourly.sql.
SELECT
    toDate(hour, 'UTC') AS day,
    connectionClass AS class,
    sum(bytesOnce) AS moved,
    formatReadableSize(moved) AS moved_readable
FROM network_flows_hourly
WHERE hour >= now() - INTERVAL 90 DAY
GROUP BY day, class
ORDER BY day, moved DESC
