-- Requests of a run that were not acknowledged: $1 run.
SELECT batch, request_id, revision FROM run_batch WHERE run_id = $1 AND done_time IS NULL ORDER BY batch
