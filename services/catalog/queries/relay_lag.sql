-- What a destination waits for: $1 'policy' or 'offers', $2 to $5 as $1 to $4 in change_read.sql, $6 looks at no more changes than this. Answers how many changes, and
-- the age of the oldest in seconds.
SELECT count(*) AS changes, coalesce(extract(epoch FROM clock_timestamp() - min(create_time)), 0)::double precision AS seconds
FROM (
    SELECT xid, seq, create_time, policy, offers FROM change
    WHERE xid >= pg_snapshot_xmin($2::text::pg_snapshot)
    ORDER BY xid, seq LIMIT $6
) AS recent
WHERE NOT pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
    AND NOT ($3::text IS NOT NULL AND pg_visible_in_snapshot(xid, $3::text::pg_snapshot) AND (xid, seq) <= ($4::bigint::text::xid8, $5::bigint))
    AND CASE $1::text WHEN 'policy' THEN policy ELSE offers END
