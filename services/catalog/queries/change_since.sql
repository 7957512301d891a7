-- The present snapshot of transactions, and whether it sees changes that another one did not: $1 the other one.
SELECT pg_current_snapshot()::text AS present, EXISTS (
    SELECT FROM change
    WHERE xid >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
) AS changed
