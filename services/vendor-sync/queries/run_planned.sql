-- Notes that a run's rows and counts are stored: $1 run, $2 rows, $3 stale, $4 unmapped, $5 rejected.
UPDATE run
SET plan_time = clock_timestamp(), attempts = 0, reason = '', rows = $2, stale = $3, unmapped = $4, rejected = $5
WHERE run_id = $1
