-- Does not believe a held file: $1 run, $2 who, $3 why. No row: it is not held.
UPDATE run
SET state = 'REJECTED', decide_time = clock_timestamp(), decided_by = $2, decision_reason = $3, end_time = clock_timestamp()
WHERE run_id = $1 AND state = 'HELD'
RETURNING run_id
