-- A run's file, part by part: $1 run.
SELECT bytes FROM run_content WHERE run_id = $1 ORDER BY part
