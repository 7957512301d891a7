-- Makes a request another one, after counts were taken out of it or its key became too old: $1 run, $2 batch, $3 its new key.
UPDATE run_batch SET request_id = $3, revision = revision + 1 WHERE run_id = $1 AND batch = $2
