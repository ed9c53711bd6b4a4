-- Tables for reading all shards: in queries, replace network_flows_0 with network_flows_all and network_flows_hourly with
-- network_flows_hourly_all. Run after 006 if the cluster has more than one shard. 'default' is the database.
--
-- The tables have no sharding key, so ClickHouse rejects inserts through them if there are several shards. A Distributed
-- table can respond before a shard has the rows, and the server would acknowledge rows to the agents that are not stored.
CREATE TABLE IF NOT EXISTS network_flows_all ON CLUSTER '{cluster}'
AS network_flows_0
ENGINE = Distributed('{cluster}', 'default', 'network_flows_0');

CREATE TABLE IF NOT EXISTS network_flows_hourly_all ON CLUSTER '{cluster}'
AS network_flows_hourly
ENGINE = Distributed('{cluster}', 'default', 'network_flows_hourly');

GRANT ON CLUSTER '{cluster}' SELECT ON network_flows_all TO kubenetmon_reader;
GRANT ON CLUSTER '{cluster}' SELECT ON network_flows_hourly_all TO kubenetmon_reader;
