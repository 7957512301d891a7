-- Ends an attempt: $1 attempt, $2 its state, $3 rows, $4 created, $5 updated, $6 unchanged, $7 failed.
UPDATE import SET state = $2, rows = $3, created = $4, updated = $5, unchanged = $6, failed = $7, update_time = now()
WHERE import_id = $1 AND state = 'STAGING'
