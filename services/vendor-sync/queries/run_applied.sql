-- Ends a run that was applied: $1 run.
UPDATE run SET state = 'APPLIED', end_time = clock_timestamp(), reason = '' WHERE run_id = $1
