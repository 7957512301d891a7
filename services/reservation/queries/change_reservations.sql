-- What happened to reservations: what one snapshot of transactions did not see and a later one does, in the order of its happening, each with the reservation as it
-- stands now. $1 to $4 as in change_rows.sql; $5 the causes in the ledger that are told; an entry of another thing than
-- a reservation finds none, and is not told. Always one row.
WITH entry AS MATERIALIZED (
    SELECT e.*
    FROM ((SELECT l.xid, l.at, l.cause AS what, l.cause_id AS reservation_id, ''::text COLLATE "C" AS sku, ''::text COLLATE "C" AS location, 0::bigint AS stock_version, 0::bigint AS units, 0::bigint AS shortfall
           FROM pg_snapshot_xip($1::text::pg_snapshot) AS open(xid) CROSS JOIN LATERAL (SELECT * FROM ledger g WHERE g.xid = open.xid OFFSET 0) l
           WHERE open.xid >= $3::bigint::text::xid8 AND l.cause = ANY ($5) AND ($2::text IS NULL OR pg_visible_in_snapshot(l.xid, $2::text::pg_snapshot)))
          UNION ALL
          (SELECT l.xid, l.at, l.cause, l.cause_id, '', '', 0, 0, 0
           FROM ledger l
           WHERE l.xid >= greatest(pg_snapshot_xmax($1::text::pg_snapshot), $3::bigint::text::xid8)
             AND l.cause = ANY ($5) AND ($2::text IS NULL OR pg_visible_in_snapshot(l.xid, $2::text::pg_snapshot))
           ORDER BY l.xid FETCH FIRST ($4::bigint) ROWS WITH TIES)
          UNION ALL
          (SELECT a.xid, a.at, 'AT_RISK', a.reservation_id, a.sku, a.location, a.stock_version, a.units, a.shortfall
           FROM pg_snapshot_xip($1::text::pg_snapshot) AS open(xid) CROSS JOIN LATERAL (SELECT * FROM at_risk k WHERE k.xid = open.xid OFFSET 0) a
           WHERE open.xid >= $3::bigint::text::xid8 AND ($2::text IS NULL OR pg_visible_in_snapshot(a.xid, $2::text::pg_snapshot)))
          UNION ALL
          (SELECT a.xid, a.at, 'AT_RISK', a.reservation_id, a.sku, a.location, a.stock_version, a.units, a.shortfall
           FROM at_risk a
           WHERE a.xid >= greatest(pg_snapshot_xmax($1::text::pg_snapshot), $3::bigint::text::xid8)
             AND ($2::text IS NULL OR pg_visible_in_snapshot(a.xid, $2::text::pg_snapshot))
           ORDER BY a.xid FETCH FIRST ($4::bigint) ROWS WITH TIES)) e
    ORDER BY e.xid FETCH FIRST ($4::bigint) ROWS WITH TIES),
-- A reservation on several rows has an entry for each.
event AS (
    SELECT e.xid, min(e.at) AS at, e.what, e.reservation_id, e.sku, e.location, e.stock_version, e.units, e.shortfall
    FROM entry e GROUP BY e.xid, e.what, e.reservation_id, e.sku, e.location, e.stock_version, e.units, e.shortfall)
SELECT i.id AS incarnation, pg_current_snapshot()::text AS present,
    i.dropped_xid >= pg_snapshot_xmin($1::text::pg_snapshot) AS expired,
    pg_snapshot_xmax($1::text::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot()) AS foreign,
    (SELECT count(*) FROM entry) AS entries,
    (SELECT max(e.xid)::text::bigint FROM entry e) AS last_xid,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'xid', e.xid::text::bigint, 'at', micros(e.at), 'what', e.what, 'sku', e.sku, 'location', e.location, 'stock_version', e.stock_version,
                'units', e.units, 'shortfall', e.shortfall, 'record', r.record) ORDER BY e.at, e.xid, e.reservation_id DESC), '[]')
     FROM event e CROSS JOIN LATERAL (SELECT record_json(t) AS record FROM reservation t WHERE t.id = e.reservation_id OFFSET 0) r) AS items,
    micros(statement_timestamp()) AS read_at
FROM record_incarnation i
