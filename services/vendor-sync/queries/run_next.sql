-- The run of a connection that is to be worked on, if it is due: $1 connection. Runs are worked on one after the other, in the order of their numbers.
SELECT run_id, connection, state, as_of, sequence, file_name, content_sha256, create_time, plan_time, end_time, reason, attempts,
       rows, applied, unchanged, stale, unmapped, rejected
FROM run
WHERE run_id = (SELECT run_id FROM run WHERE connection = $1 AND state = 'APPLYING' ORDER BY number LIMIT 1)
  AND next_attempt_time <= clock_timestamp()
