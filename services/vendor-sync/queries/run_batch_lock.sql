-- Locks a request that was not acknowledged: $1 run, $2 batch, $3 revision. No row: it was, or it became another one.
SELECT 1 FROM run_batch WHERE run_id = $1 AND batch = $2 AND revision = $3 AND done_time IS NULL FOR UPDATE
