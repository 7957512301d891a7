-- Whether a run's file is one to compare with, and not stale as a whole: $1 run.
SELECT file_rows IS NOT NULL FROM run WHERE run_id = $1
