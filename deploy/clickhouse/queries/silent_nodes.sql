-- Which nodes have stopped reporting? Either the agent is gone, cannot reach a server or counts nothing, or the node was
-- removed.
SELECT
    localNode AS node,
    max(intervalStartTime) AS last_row,
    dateDiff('minute', last_row, now()) AS silent_minutes,
    sumIf(bytes, intervalStartTime >= now() - INTERVAL 3 HOUR) AS bytes_of_3_hours
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND localNode != ''
GROUP BY node
HAVING silent_minutes >= 10
ORDER BY silent_minutes DESC
