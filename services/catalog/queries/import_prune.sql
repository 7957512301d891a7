-- Forgets ended attempts older than $1 seconds whose rows are gone, at most $2.
DELETE FROM import WHERE import_id IN (
    SELECT import_id FROM import
    WHERE state <> 'STAGING' AND update_time < now() - make_interval(secs => $1::double precision)
        AND NOT EXISTS (SELECT FROM import_row WHERE import_row.import_id = import.import_id)
    ORDER BY update_time LIMIT $2
    FOR UPDATE SKIP LOCKED
)
