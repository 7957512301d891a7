-- Forgets answers older than $1 seconds, at most $2 of them. Replicas that do it at once find each other's rows gone.
DELETE FROM request WHERE request_id IN (
    SELECT request_id FROM request
    WHERE create_time < now() - make_interval(secs => $1::double precision)
    ORDER BY create_time LIMIT $2
)
