-- How much of each node's bandwidth is left in its busiest minute? Edit the nodes' capacities in Gbit/s; a node that is
-- not listed has the default. Counts what pods send and receive across the node's border, averaged over a minute; shorter
-- bursts do not show. The traffic of an external client that reaches a pod of another node through this node's port
-- counts here in both directions, as it enters and leaves the node, and not on the pod's node.
WITH
    localPod = '' AND remotePod != '' AND connectionClass != 'INTRA_VPC' AS is_visitor,
    10 AS default_gbit_s,
    capacities AS (SELECT * FROM values('node String, gbit_s Float64', ('node-2', 1))),
    rates AS
    (
        SELECT
            localNode AS node,
            intervalStartTime AS minute,
            sumIf(bytes, direction = 'out' OR is_visitor) * 8 / 60 / 1e9 AS out_gbit_s,
            sumIf(bytes, direction = 'in' OR is_visitor) * 8 / 60 / 1e9 AS in_gbit_s
        FROM network_flows_0
        WHERE intervalStartTime >= now() - INTERVAL 1 DAY
            AND localNode != ''
            AND localNode != remoteNode
        GROUP BY node, minute
    )
SELECT
    node,
    if(any(gbit_s) = 0, default_gbit_s, any(gbit_s)) AS capacity,
    round(max(out_gbit_s), 4) AS peak_out,
    round(max(in_gbit_s), 4) AS peak_in,
    argMax(minute, greatest(out_gbit_s, in_gbit_s)) AS busiest_minute,
    round(100 * (1 - greatest(peak_out, peak_in) / capacity), 1) AS percent_left
FROM rates
LEFT JOIN capacities USING (node)
GROUP BY node
ORDER BY percent_left, node
