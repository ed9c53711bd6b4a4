-- One table over all shards, for reading: ask network_flows_all and network_flows_hourly_all where a question says
-- network_flows_0 and network_flows_hourly. After 006, where the cluster has more than one shard. 'default' is the database.
--
-- They have no sharding key, so that nothing is inserted through them where there are several shards: a Distributed table may
-- answer before a shard has the rows, and the agents would be told that ClickHouse has what it has not.
CREATE TABLE IF NOT EXISTS network_flows_all ON CLUSTER '{cluster}'
AS network_flows_0
ENGINE = Distributed('{cluster}', 'default', 'network_flows_0');

CREATE TABLE IF NOT EXISTS network_flows_hourly_all ON CLUSTER '{cluster}'
AS network_flows_hourly
ENGINE = Distributed('{cluster}', 'default', 'network_flows_hourly');

GRANT ON CLUSTER '{cluster}' SELECT ON network_flows_all TO kubenetmon_reader;
GRANT ON CLUSTER '{cluster}' SELECT ON network_flows_hourly_all TO kubenetmon_reader;
