-- Takes a refused run up again, if its connection was changed since: $1 run. It is worked on like a new one, as its connection is now. No row: it is not refused, or
-- would be refused again.
UPDATE run
SET state = 'APPLYING', end_time = NULL, reason = '', attempts = 0, next_attempt_time = clock_timestamp(), report_kept = true, rows = 0, rejected = 0,
    mode = NULL, meaning = NULL
WHERE run_id = $1 AND state = 'REFUSED' AND EXISTS (
    SELECT FROM connection_event
    WHERE connection_event.connection = run.connection AND connection_event.action = 'UPDATED' AND connection_event.create_time > run.end_time
)
RETURNING run_id
