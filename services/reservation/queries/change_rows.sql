-- Rows of stock that changed: what one snapshot of transactions did not see and a later one does, as the rows stand now. $1 the earlier snapshot, $2 the later one
-- or NULL for the present one, $3 from which transaction on (0: all), $4 after how many entries it is enough; transactions are never cut in two. Always one row.
-- What is looked up row by row stays so (OFFSET 0): the planner does not know how little there is, and would read whole tables instead. "expired" says that some entries may have been dropped, "foreign" that the snapshot is of another life of the record.
WITH entry AS MATERIALIZED (
    SELECT e.xid, e.sku, e.location, e.version, e.at
    FROM ((SELECT l.xid, l.sku, l.location, l.version, l.at
           FROM pg_snapshot_xip($1::text::pg_snapshot) AS open(xid) CROSS JOIN LATERAL (SELECT * FROM ledger g WHERE g.xid = open.xid OFFSET 0) l
           WHERE open.xid >= $3::bigint::text::xid8 AND ($2::text IS NULL OR pg_visible_in_snapshot(l.xid, $2::text::pg_snapshot)))
          UNION ALL
          (SELECT l.xid, l.sku, l.location, l.version, l.at
           FROM ledger l
           WHERE l.xid >= greatest(pg_snapshot_xmax($1::text::pg_snapshot), $3::bigint::text::xid8)
             AND ($2::text IS NULL OR pg_visible_in_snapshot(l.xid, $2::text::pg_snapshot))
           ORDER BY l.xid FETCH FIRST ($4::bigint) ROWS WITH TIES)) e
    ORDER BY e.xid FETCH FIRST ($4::bigint) ROWS WITH TIES),
newest AS (
    SELECT DISTINCT ON (e.sku, e.location) e.xid, e.sku, e.location, e.at FROM entry e ORDER BY e.sku, e.location, e.version DESC)
SELECT i.id AS incarnation, pg_current_snapshot()::text AS present,
    i.dropped_xid >= pg_snapshot_xmin($1::text::pg_snapshot) AS expired,
    pg_snapshot_xmax($1::text::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot()) AS foreign,
    (SELECT count(*) FROM entry) AS entries,
    (SELECT max(e.xid)::text::bigint FROM entry e) AS last_xid,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(n.xid::text::bigint, s.sku, s.location, s.available, s.version, micros(n.at)) ORDER BY s.sku, s.location), '[]')
     FROM newest n CROSS JOIN LATERAL (SELECT t.sku, t.location, t.version, available_of(t, 0) AS available FROM stock t WHERE t.sku = n.sku AND t.location = n.location OFFSET 0) s) AS items
FROM record_incarnation i
