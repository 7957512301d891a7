-- A run: $1 run.
SELECT run_id, connection, state, as_of, sequence, file_name, content_sha256, create_time, plan_time, end_time, reason, attempts,
       rows, applied, unchanged, stale, unmapped, rejected, quarantined,
       coalesce(location, (SELECT connection.location FROM connection WHERE connection.code = run.connection)) AS location, origin, warnings, approved,
       decided_by, decision_reason
FROM run
WHERE run_id = $1
