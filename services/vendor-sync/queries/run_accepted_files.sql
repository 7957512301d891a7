-- The last files that were accepted, the newest first: $1 connection, $2 at most so many. Their rows, and the share of their commonest number.
SELECT file_rows, file_top_permille
FROM run
WHERE connection = $1 AND state = 'APPLIED' AND file_rows IS NOT NULL
ORDER BY number DESC
LIMIT $2
