-- The next slice of an attempt's staged rows by their codes: $1 attempt, $2 the last code of the slice before, $3 rows. Answers its last code, NULL when nothing
-- is left, and its size.
SELECT max(code COLLATE "C") AS last_code, count(*) AS size
FROM (SELECT code FROM import_row WHERE import_id = $1 AND code > $2 ORDER BY code LIMIT $3) AS slice
