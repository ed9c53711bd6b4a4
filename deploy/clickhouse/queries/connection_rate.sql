-- How fast was a connection, minute by minute? Edit the pod, the peer's address and the peer's port. Rates are averages
-- over one minute.
WITH
    'client-1' AS of_pod,
    toIPv4('10.0.1.11') AS peer,
    80 AS peer_port
SELECT
    intervalStartTime AS minute,
    localPort AS port,
    round(sumIf(bytes, direction = 'out') * 8 / 60 / 1e6, 3) AS mbit_s_out,
    round(sumIf(bytes, direction = 'in') * 8 / 60 / 1e6, 3) AS mbit_s_in,
    sum(packets) AS packets
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 3 HOUR
    AND localPod = of_pod
    AND remoteIPv4 = peer
    AND remotePort = peer_port
GROUP BY minute, port
ORDER BY minute, port
