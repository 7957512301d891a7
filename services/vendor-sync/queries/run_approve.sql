-- Believes a held file: $1 run, $2 who, $3 why. It is worked on like a new one. No row: it is not held.
UPDATE run
SET state = 'APPLYING', approved = true, decide_time = clock_timestamp(), decided_by = $2, decision_reason = $3, end_time = NULL, reason = '',
    attempts = 0, next_attempt_time = clock_timestamp(), rows = 0, rejected = 0
WHERE run_id = $1 AND state = 'HELD'
RETURNING run_id
