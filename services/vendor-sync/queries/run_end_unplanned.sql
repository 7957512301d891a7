-- Ends a run of which nothing is applied, or lets it wait: $1 run, $2 state, $3 reason, $4 rows, $5 rejected.
UPDATE run
SET state = $2, reason = $3, end_time = CASE WHEN $2 <> 'HELD' THEN clock_timestamp() END, rows = $4, rejected = $5
WHERE run_id = $1
