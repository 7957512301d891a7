-- Has a run's connection worked on at once, because somebody asks for the run: $1 run. What is worked on is its first unfinished run.
UPDATE run
SET next_attempt_time = clock_timestamp()
WHERE state = 'APPLYING' AND next_attempt_time > clock_timestamp() AND run_id = (
    SELECT first.run_id
    FROM run AS first
    JOIN run AS asked ON asked.connection = first.connection
    WHERE asked.run_id = $1 AND first.state = 'APPLYING'
    ORDER BY first.plan_time IS NULL, first.number
    LIMIT 1
)
