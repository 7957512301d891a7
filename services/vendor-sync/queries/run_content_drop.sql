-- Drops a run's file: $1 run.
DELETE FROM run_content WHERE run_id = $1
