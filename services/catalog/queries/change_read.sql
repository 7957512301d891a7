-- Changes that one snapshot of transactions did not see and a later one does, in the order of a cursor within them, and always one row at least: $1 the earlier
-- snapshot, $2 the later one or NULL for the present one, $3 and $4 transaction and number of the last change that was read of these, $5 'policy', 'offers' or
-- 'all', $6 rows. "expired" says that some of them may have been dropped, "foreign" that the snapshot is of another database.
SELECT log.log_id, pg_current_snapshot()::text AS present,
    log.dropped_xid >= pg_snapshot_xmin($1::text::pg_snapshot) AS expired,
    pg_snapshot_xmax($1::text::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot()) AS foreign,
    found.xid::text::bigint AS xid, found.seq, found.sku
FROM change_log AS log
LEFT JOIN LATERAL (
    SELECT change.xid, change.seq, change.sku
    FROM change
    -- One bound, so that the index is entered where it matters: a second one would only filter what is walked.
    WHERE (change.xid, change.seq) > (greatest($3::bigint::text::xid8, pg_snapshot_xmin($1::text::pg_snapshot)),
            CASE WHEN $3::bigint::text::xid8 >= pg_snapshot_xmin($1::text::pg_snapshot) THEN $4::bigint ELSE 0 END)
        AND NOT pg_visible_in_snapshot(change.xid, $1::text::pg_snapshot)
        AND ($2::text IS NULL OR pg_visible_in_snapshot(change.xid, $2::text::pg_snapshot))
        AND CASE $5::text WHEN 'policy' THEN change.policy WHEN 'offers' THEN change.offers ELSE true END
    ORDER BY change.xid, change.seq
    LIMIT $6
) AS found ON true
ORDER BY found.xid, found.seq
