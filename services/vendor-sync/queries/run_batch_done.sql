-- Notes that a request was acknowledged: $1 run, $2 batch.
UPDATE run_batch SET done_time = clock_timestamp() WHERE run_id = $1 AND batch = $2
