-- Stores a request to be made: $1 run, $2 batch, $3 its key.
INSERT INTO run_batch (run_id, batch, request_id) VALUES ($1, $2, $3)
