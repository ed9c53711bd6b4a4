-- Keeps the tokens of the last 10,000 inserts: a batch that is sent again, because the response was lost, is stored once.
-- Takes effect immediately on a table in use and does not change its rows. Each insert takes one place per partition.
-- Replicated* tables have such a window by default (replicated_deduplication_window) and do not need this file. The
-- target table of a materialized view on this table needs a window of its own.
ALTER TABLE network_flows_0 MODIFY SETTING non_replicated_deduplication_window = 10000;
