-- Plans of the hot path that do not depend on statistics.
--
-- A table that has just been filled has no statistics until autovacuum has come by, about a minute later. Until then Postgres takes every join with an array for a
-- large one and reads the whole of stock for each batch: 67 ms for one reserve among 100,000 SKUs, under 1 ms with these settings. And with statistics it weighs a
-- plan for these arrays against one for any, finds its own guess of the latter too dear, and plans anew for each call, which costs more than the call of a small batch.
-- Every statement of these functions names rows by keys that have an index, so one plan is right for all, whatever the tables hold.
ALTER FUNCTION commit_fast(uuid[], text[], bytea[], jsonb[], bigint[], text[], uuid[], text[], text[], bigint[], uuid[], bytea[], uuid[], text[], text[], bigint, bigint, jsonb[], text[], text[], text[])
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off;
ALTER FUNCTION lock_batch(uuid[], uuid[], uuid[], uuid[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bigint[], bigint[], text[], text[], boolean[], text[], text[], text[], text[], boolean, integer, integer)
    SET enable_seqscan = off;
ALTER FUNCTION write_plan(jsonb) SET enable_seqscan = off;
