-- Locks a run whose rows are not stored yet: $1 run. No row: they are, or it is finished.
SELECT 1 FROM run WHERE run_id = $1 AND state = 'APPLYING' AND plan_time IS NULL FOR UPDATE
