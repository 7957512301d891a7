-- Every discrepancy between stock, ledger, reservations and allocations, in one statement and so in one snapshot: safe beside load. Nothing found, nothing returned.
-- Columns: the invariant (DESIGN's number), what it is about, what is wrong.
WITH sums AS (
    SELECT sku, location, count(*) AS entries, max(version) AS newest, sum(on_hand) AS on_hand, sum(held) AS held,
           sum(committed) AS committed, sum(safety) AS safety, sum(backorder) AS backorder,
           coalesce(sum(unsellable) FILTER (WHERE condition = 'DAMAGED'), 0) AS damaged,
           coalesce(sum(unsellable) FILTER (WHERE condition = 'QUALITY_HOLD'), 0) AS quality_hold,
           coalesce(sum(unsellable) FILTER (WHERE condition = 'REFURBISHED'), 0) AS refurbished
    FROM ledger GROUP BY sku, location),
taken AS (
    SELECT l.reservation_id, r.state, l.sku, l.location, l.quantity
    FROM allocation l LEFT JOIN reservation r ON r.id = l.reservation_id),
live AS (
    SELECT sku, location, coalesce(sum(quantity) FILTER (WHERE state = 'HELD'), 0) AS held,
           coalesce(sum(quantity) FILTER (WHERE state IN ('CONFIRMED', 'FULFILLED')), 0) AS committed
    FROM taken GROUP BY sku, location),
moves AS (
    SELECT cause_id, sku, location, sum(held) AS held, sum(committed) AS committed,
           count(*) FILTER (WHERE cause = 'RESERVE') AS reserved, count(*) FILTER (WHERE cause NOT IN ('RESERVE', 'REPAIR')) AS ended,
           count(*) FILTER (WHERE cause = 'REPAIR') AS repaired
    FROM ledger WHERE cause IN ('RESERVE', 'CONFIRM', 'RELEASE', 'EXPIRE', 'REPAIR')
    GROUP BY cause_id, sku, location),
history AS (
    SELECT sku, location, version, cause, cause_id, at,
           sum(held + committed - on_hand - backorder + safety) OVER past AS beyond,
           lag(at) OVER past AS before,
           max(version) FILTER (WHERE cause = 'REPAIR') OVER (PARTITION BY sku, location) AS repaired
    FROM ledger WINDOW past AS (PARTITION BY sku, location ORDER BY version))

SELECT 'I2' AS invariant, s.sku || '@' || s.location AS subject,
       format('held %s + committed %s exceed on hand %s + backorder %s + shortfall %s', s.held, s.committed, s.on_hand, s.backorder, s.shortfall) AS detail
FROM stock s WHERE s.held + s.committed > s.on_hand + s.backorder + s.shortfall
UNION ALL
SELECT 'I2', h.sku || '@' || h.location, format('reservation %s took %s units more than were available, at version %s', h.cause_id, h.beyond, h.version)
FROM history h WHERE h.cause = 'RESERVE' AND h.beyond > 0 AND h.version > coalesce(h.repaired, 0)
UNION ALL
SELECT 'I3', coalesce(s.sku, l.sku) || '@' || coalesce(s.location, l.location),
       format('stock (on_hand, held, committed, safety, backorder, unsellable) (%s, %s, %s, %s, %s, %s/%s/%s) is not its ledger''s sum (%s, %s, %s, %s, %s, %s/%s/%s)',
              s.on_hand, s.held, s.committed, s.safety, s.backorder, s.damaged, s.quality_hold, s.refurbished,
              l.on_hand, l.held, l.committed, l.safety, l.backorder, l.damaged, l.quality_hold, l.refurbished)
FROM stock s FULL JOIN sums l ON l.sku = s.sku AND l.location = s.location
WHERE (s.on_hand, s.held, s.committed, s.safety, s.backorder, s.damaged, s.quality_hold, s.refurbished)
      IS DISTINCT FROM (l.on_hand, l.held, l.committed, l.safety, l.backorder, l.damaged, l.quality_hold, l.refurbished)
      AND NOT (l.sku IS NULL AND (s.on_hand, s.held, s.committed, s.safety, s.backorder, s.damaged, s.quality_hold, s.refurbished) = (0, 0, 0, 0, 0, 0, 0, 0))
UNION ALL
SELECT 'I3', s.sku || '@' || s.location, format('version %s, but %s ledger entries up to version %s', s.version, coalesce(l.entries, 0), coalesce(l.newest, 0))
FROM stock s LEFT JOIN sums l ON l.sku = s.sku AND l.location = s.location
WHERE s.version <> coalesce(l.entries, 0) OR s.version <> coalesce(l.newest, 0)
UNION ALL
SELECT 'I3', coalesce(s.sku, v.sku) || '@' || coalesce(s.location, v.location),
       format('held %s and committed %s, but the reservations'' allocations add up to %s and %s', s.held, s.committed, v.held, v.committed)
FROM stock s FULL JOIN live v ON v.sku = s.sku AND v.location = s.location
WHERE (coalesce(s.held, -1), coalesce(s.committed, -1)) <> (coalesce(v.held, 0), coalesce(v.committed, 0))
UNION ALL
SELECT 'E', h.sku || '@' || h.location, format('version %s is dated before the version it follows', h.version)
FROM history h WHERE h.at < h.before
UNION ALL
SELECT CASE WHEN m.reserved > 1 THEN 'I4'
            WHEN coalesce(m.ended, 0) <> CASE WHEN l.state = 'HELD' THEN 0 ELSE 1 END THEN 'I6' ELSE 'I3' END, coalesce(m.cause_id, l.reservation_id)::text,
       format('%s %s units of %s, ledger moved held by %s and committed by %s in %s reserve and %s further entries', coalesce(l.state, 'without a row,'),
              coalesce(l.quantity, 0), coalesce(m.sku, l.sku) || '@' || coalesce(m.location, l.location),
              coalesce(m.held, 0), coalesce(m.committed, 0), coalesce(m.reserved, 0), coalesce(m.ended, 0))
FROM taken l FULL JOIN moves m ON m.cause_id = l.reservation_id AND m.sku = l.sku AND m.location = l.location
-- A repair explains what entries there are and are not; what they add up to must be right all the same.
WHERE NOT (l.reservation_id IS NULL AND m.reserved + m.ended = 0)
  AND (l.state IS NULL
   OR coalesce(m.repaired, 0) = 0 AND (coalesce(m.reserved, 0) <> 1
       OR coalesce(m.ended, 0) <> CASE WHEN l.state = 'HELD' THEN 0 ELSE 1 END)
   OR m.held <> CASE WHEN l.state = 'HELD' THEN l.quantity ELSE 0 END
   OR m.committed <> CASE WHEN l.state IN ('CONFIRMED', 'FULFILLED') THEN l.quantity ELSE 0 END)
UNION ALL
SELECT 'I3', s.sku || '@' || s.location,
       format('safety %s (%s for being late), backorder %s, archived %s, but the selling policy says %s, %s, %s', s.safety, s.buffer, s.backorder, s.archived,
              coalesce(p.safety, 0), CASE WHEN p.locations[1] = s.location THEN p.backorder ELSE 0 END, coalesce(p.archived, false))
FROM stock s JOIN policy p ON p.sku = s.sku AND p.version > 0
WHERE (s.safety - s.buffer, s.backorder, s.archived) IS DISTINCT FROM (p.safety, CASE WHEN p.locations[1] = s.location THEN p.backorder ELSE 0 END, p.archived)
UNION ALL
SELECT 'I3', r.id::text, format('%s without allocations', r.state)
FROM reservation r
WHERE r.state IN ('HELD', 'CONFIRMED', 'FULFILLED', 'EXPIRED')
  AND NOT EXISTS (SELECT FROM allocation a WHERE a.reservation_id = r.id)
ORDER BY 1, 2
LIMIT $1
