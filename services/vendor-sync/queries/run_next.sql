-- The run of a connection that is to be worked on, if it is due: $1 connection. A run whose rows are stored is finished before another one is begun (an older
-- file that is approved late must not come between its batches); else they come in the order of their numbers.
SELECT run_id, connection, state, as_of, sequence, file_name, content_sha256, create_time, plan_time, end_time, reason, attempts,
       rows, applied, unchanged, stale, unmapped, rejected, quarantined,
       coalesce(location, (SELECT connection.location FROM connection WHERE connection.code = run.connection)) AS location, origin, warnings, approved,
       decided_by, decision_reason
FROM run
WHERE run_id = (
        SELECT run_id FROM run
        WHERE connection = $1 AND state = 'APPLYING'
          -- A new file is judged beside what was decided, so it waits until that is carried out.
          AND (plan_time IS NOT NULL OR NOT EXISTS (
              SELECT FROM quarantined WHERE quarantined.connection = $1 AND decide_time IS NOT NULL AND done_time IS NULL))
        ORDER BY plan_time IS NULL, number LIMIT 1
    )
  AND next_attempt_time <= clock_timestamp()
