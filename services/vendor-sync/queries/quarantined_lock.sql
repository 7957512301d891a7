-- Locks a decision that is not carried out: $1 id. No row: it is.
SELECT 1 FROM quarantined WHERE quarantine_id = $1 AND decide_time IS NOT NULL AND done_time IS NULL FOR UPDATE
