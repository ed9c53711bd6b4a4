-- The last 10,000 inserts are known by their tokens: a batch that is sent again, since the answer was lost on its way, is
-- stored once. Takes effect at once, on a live table; rows stay as they are. Every insert into a partition takes a place.
-- A Replicated* table has such a window by default (replicated_deduplication_window) and does not need this. A
-- materialized view that reads from the table needs it on its target, too.
ALTER TABLE network_flows_0 MODIFY SETTING non_replicated_deduplication_window = 10000;
