-- Forgets numbers that were decided, older than $1 seconds, at most $2 of them.
DELETE FROM quarantined WHERE quarantine_id IN (
    SELECT quarantine_id FROM quarantined
    WHERE done_time IS NOT NULL AND create_time < now() - make_interval(secs => $1::double precision)
    ORDER BY create_time LIMIT $2
)
