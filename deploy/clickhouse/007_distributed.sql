-- Tables for reading all shards: in queries, replace network_flows_0 with network_flows_all and network_flows_hourly with
-- network_flows_hourly_all. Run after 006 if the cluster has more than one shard, and again whenever 002 adds columns: a
-- Distributed table keeps the columns of its creation, and is replaced here; it holds no rows. 'default' is the database.
--
-- The tables have no sharding key, so ClickHouse rejects inserts through them if there are several shards. A Distributed
-- table can respond before a shard has the rows, and the server would acknowledge rows to the agents that are not stored.
CREATE OR REPLACE TABLE network_flows_all ON CLUSTER '{cluster}'
AS network_flows_0
ENGINE = Distributed('{cluster}', 'default', 'network_flows_0');

CREATE OR REPLACE TABLE network_flows_hourly_all ON CLUSTER '{cluster}'
AS network_flows_hourly
ENGINE = Distributed('{cluster}', 'default', 'network_flows_hourly');

GRANT ON CLUSTER '{cluster}' SELECT ON network_flows_all TO kubenetmon_reader;
GRANT ON CLUSTER '{cluster}' SELECT ON network_flows_hourly_all TO kubenetmon_reader;
