-- Takes a connection that has work which is due and that nobody works on: $1 the holder, $2 for how many seconds. No row: there is none.
-- SKIP LOCKED, because every replica asks; the one that waited longest comes first.
UPDATE connection
SET lease_holder = $1, lease_until = clock_timestamp() + make_interval(secs => $2::double precision)
WHERE code = (
    SELECT connection.code
    FROM connection
    JOIN (
        SELECT DISTINCT ON (connection) connection, next_attempt_time
        FROM run
        WHERE state = 'APPLYING'
        ORDER BY connection, number
    ) AS oldest ON oldest.connection = connection.code
    WHERE oldest.next_attempt_time <= clock_timestamp()
      AND (connection.lease_until IS NULL OR connection.lease_until < clock_timestamp())
    ORDER BY oldest.next_attempt_time
    LIMIT 1
    FOR UPDATE OF connection SKIP LOCKED
)
RETURNING code
