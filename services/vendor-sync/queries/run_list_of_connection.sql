-- A page of one connection's runs, newest first: $1 and $2 time and run of the last one of the page before or NULL, $3 rows, $4 a state or NULL,
-- $5 connection.
SELECT run_id, connection, state, as_of, sequence, file_name, content_sha256, create_time, plan_time, end_time, reason, attempts,
       rows, applied, unchanged, stale, unmapped, rejected, quarantined,
       coalesce(location, (SELECT connection.location FROM connection WHERE connection.code = run.connection)) AS location, origin, warnings, approved,
       decided_by, decision_reason
FROM run
WHERE connection = $5 AND ($1::timestamptz IS NULL OR (create_time, run_id) < ($1, $2::uuid)) AND ($4::text IS NULL OR state = $4)
ORDER BY create_time DESC, run_id DESC
LIMIT $3
