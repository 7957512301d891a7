-- Has a run's connection worked on at once, because somebody asks for the run: $1 run. What is worked on is its oldest unfinished run.
UPDATE run
SET next_attempt_time = clock_timestamp()
WHERE state = 'APPLYING' AND next_attempt_time > clock_timestamp() AND run_id = (
    SELECT oldest.run_id
    FROM run AS oldest
    JOIN run AS asked ON asked.connection = oldest.connection
    WHERE asked.run_id = $1 AND oldest.state = 'APPLYING'
    ORDER BY oldest.number
    LIMIT 1
)
