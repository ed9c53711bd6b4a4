-- What the server and those who ask may do, and no more. Then make users of your own, as in
--   CREATE USER kubenetmon IDENTIFIED BY '…' HOST IP '10.0.0.0/8' DEFAULT ROLE kubenetmon_writer;
--   CREATE USER grafana IDENTIFIED BY '…' DEFAULT ROLE kubenetmon_reader;
-- and put the writer's name and password into the secret that the server mounts at /etc/clickhouse.

-- Inserts rows, which implies the right to see the table's columns; asks at start what the table does with a batch that comes
-- twice, and after a crash of ClickHouse how many rows its parts have. It cannot read a row. The view of 004 runs as the one
-- who made it, so that its target needs no grant. Without the grants on system tables the server starts all the same, and
-- says what they would be for.
CREATE ROLE IF NOT EXISTS kubenetmon_writer;
GRANT INSERT ON network_flows_0 TO kubenetmon_writer;
GRANT SELECT ON system.tables TO kubenetmon_writer;
GRANT SELECT ON system.parts TO kubenetmon_writer;
GRANT SELECT ON system.metrics TO kubenetmon_writer;
GRANT SELECT ON system.merge_tree_settings TO kubenetmon_writer;
GRANT SELECT ON system.replicated_merge_tree_settings TO kubenetmon_writer;

-- Reads rows. readonly = 2: may choose settings of its queries, as Grafana does, and change nothing else.
CREATE ROLE IF NOT EXISTS kubenetmon_reader SETTINGS readonly = 2;
GRANT SELECT ON network_flows_0 TO kubenetmon_reader;
GRANT SELECT ON network_flows_hourly TO kubenetmon_reader;
