-- The least rights that the server and readers need. Run this file, then create users, such as
--   CREATE USER kubenetmon IDENTIFIED BY '…' HOST IP '10.0.0.0/8' DEFAULT ROLE kubenetmon_writer;
--   CREATE USER grafana IDENTIFIED BY '…' DEFAULT ROLE kubenetmon_reader;
-- and put the writer's name and password into the secret that the server mounts at /etc/clickhouse.

-- The server inserts rows; INSERT implies the right to see the table's columns. At start it asks whether the table
-- deduplicates a batch that is sent again, and after a crash of ClickHouse how many rows the table's parts have. Of the
-- rows it reads six columns, to find those named `fence/…` (docs/clickhouse.md) and to tell parts apart. The view of 004
-- runs with the rights of the user who created it, so its target needs no grant. With the right to INSERT alone the server
-- starts nevertheless and logs what the other grants are needed for.
CREATE ROLE IF NOT EXISTS kubenetmon_writer;
GRANT INSERT ON network_flows_0 TO kubenetmon_writer;
GRANT SELECT(date, intervalStartTime, direction, proto, localPod, packets, _part) ON network_flows_0 TO kubenetmon_writer;
GRANT SELECT ON system.tables TO kubenetmon_writer;
GRANT SELECT ON system.parts TO kubenetmon_writer;
GRANT SELECT ON system.metrics TO kubenetmon_writer;
GRANT SELECT ON system.merge_tree_settings TO kubenetmon_writer;
GRANT SELECT ON system.replicated_merge_tree_settings TO kubenetmon_writer;

-- Reads rows. readonly = 2 permits settings in queries, which Grafana uses, and no other changes.
CREATE ROLE IF NOT EXISTS kubenetmon_reader SETTINGS readonly = 2;
GRANT SELECT ON network_flows_0 TO kubenetmon_reader;
GRANT SELECT ON network_flows_hourly TO kubenetmon_reader;
