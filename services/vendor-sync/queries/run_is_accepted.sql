-- Whether a run's file is one to compare with, not stale as a whole, and whether reservation took a number of it: one that says nothing makes nothing fresh. $1 run.
SELECT file_rows IS NOT NULL AND EXISTS (SELECT FROM run_count WHERE run_count.run_id = $1 AND run_count.outcome NOT IN ('REJECTED', 'CONFLICT')) FROM run WHERE run_id = $1
