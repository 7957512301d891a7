-- Drops staged rows of an attempt that has ended, at most $2 of them: $1 attempt.
DELETE FROM import_row WHERE import_id = $1 AND code IN (SELECT code FROM import_row WHERE import_id = $1 ORDER BY code LIMIT $2)
