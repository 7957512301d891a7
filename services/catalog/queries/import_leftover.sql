-- Attempts that have ended and still have staged rows, at most $1.
SELECT import_id FROM import
WHERE state <> 'STAGING' AND EXISTS (SELECT FROM import_row WHERE import_row.import_id = import.import_id)
LIMIT $1
