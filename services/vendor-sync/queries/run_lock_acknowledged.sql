-- Locks a run all of whose requests were acknowledged: $1 run. No row: it is finished, or not so far. A file that is stale as a whole has no file_rows.
SELECT coalesce(run.mode, connection.mode) AS mode, run.connection, run.as_of, run.sequence, run.file_rows IS NOT NULL AS accepted
FROM run
JOIN connection ON connection.code = run.connection
WHERE run.run_id = $1 AND run.state = 'APPLYING' AND run.plan_time IS NOT NULL
  AND NOT EXISTS (SELECT FROM run_batch WHERE run_batch.run_id = run.run_id AND run_batch.done_time IS NULL)
FOR UPDATE OF run
