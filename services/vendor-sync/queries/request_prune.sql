-- Forgets answers older than $1 seconds, at most $2 of them. Two replicas may do it at once: the second finds them gone.
DELETE FROM request WHERE request_id IN (
    SELECT request_id FROM request
    WHERE create_time < now() - make_interval(secs => $1::double precision)
    ORDER BY create_time LIMIT $2
)
