-- Keeps a part of a run's file: $1 run, $2 part, $3 bytes.
INSERT INTO run_content (run_id, part, bytes) VALUES ($1, $2, $3)
