-- Finished runs whose reports are older than $1 seconds, at most $2 of them.
SELECT run_id FROM run
WHERE report_kept AND state <> 'APPLYING' AND create_time < now() - make_interval(secs => $1::double precision)
ORDER BY create_time
LIMIT $2
