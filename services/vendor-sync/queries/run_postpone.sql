-- Puts a run off: $1 run, $2 seconds, $3 what it waits for.
UPDATE run
SET attempts = attempts + 1, next_attempt_time = clock_timestamp() + make_interval(secs => $2::double precision), reason = $3
WHERE run_id = $1 AND state = 'APPLYING'
