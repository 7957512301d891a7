-- Ends the waiting of held files that are older than one that was applied: $1 connection, $2 as_of, $3 sequence. Their files go with them.
WITH superseded AS (
    UPDATE run
    SET state = 'SUPERSEDED', end_time = clock_timestamp()
    WHERE connection = $1 AND state = 'HELD' AND (as_of, sequence) < ($2, $3)
    RETURNING run_id
)
DELETE FROM run_content WHERE run_id IN (SELECT run_id FROM superseded)
