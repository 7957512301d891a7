-- What a run's connection said when the run was first worked on: $1 run.
SELECT mode, meaning FROM run WHERE run_id = $1 AND mode IS NOT NULL
