-- Takes a connection that has work which is due and that nobody works on: $1 the holder, $2 for how many seconds. No row: there is none.
-- Work is an unfinished run (one whose rows are stored comes first, another one when all decisions are carried out), or a decision while no run is half applied. SKIP LOCKED, because every replica asks; the
-- one that waited longest comes first.
UPDATE connection
SET lease_holder = $1, lease_until = clock_timestamp() + make_interval(secs => $2::double precision)
WHERE code = (
    SELECT connection.code
    FROM connection
    JOIN (
        (SELECT DISTINCT ON (connection) connection, next_attempt_time
         FROM run
         WHERE state = 'APPLYING' AND (plan_time IS NOT NULL OR NOT EXISTS (
             SELECT FROM quarantined
             WHERE quarantined.connection = run.connection AND quarantined.decide_time IS NOT NULL AND quarantined.done_time IS NULL))
         ORDER BY connection, plan_time IS NULL, number)
        UNION ALL
        SELECT connection, next_attempt_time
        FROM quarantined
        WHERE decide_time IS NOT NULL AND done_time IS NULL AND NOT EXISTS (
            SELECT FROM run WHERE run.connection = quarantined.connection AND run.state = 'APPLYING' AND run.plan_time IS NOT NULL
        )
    ) AS work ON work.connection = connection.code
    WHERE work.next_attempt_time <= clock_timestamp()
      AND (connection.lease_until IS NULL OR connection.lease_until < clock_timestamp())
    ORDER BY work.next_attempt_time
    LIMIT 1
    FOR UPDATE OF connection SKIP LOCKED
)
RETURNING code
