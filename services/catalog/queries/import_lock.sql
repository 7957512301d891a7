-- Locks an attempt for applying it and counts its staged rows: $1 attempt. No row: the janitor took it for dead.
SELECT (SELECT count(*) FROM import_row WHERE import_row.import_id = $1) AS staged
FROM import
WHERE import_id = $1 AND state = 'STAGING'
FOR NO KEY UPDATE
