-- Every discrepancy between stock, ledger, reservations and allocations, in one statement and so in one snapshot: safe beside load. Nothing found, nothing returned.
-- Columns: the invariant (DESIGN's number), what it is about, what is wrong.
WITH sums AS (
    SELECT sku, location, sum(entries) AS entries, max(version) AS newest, sum(on_hand) AS on_hand, sum(held) AS held,
           sum(committed) AS committed, sum(safety) AS safety, sum(backorder) AS backorder,
           coalesce(sum(unsellable) FILTER (WHERE condition = 'DAMAGED'), 0) AS damaged,
           coalesce(sum(unsellable) FILTER (WHERE condition = 'QUALITY_HOLD'), 0) AS quality_hold,
           coalesce(sum(unsellable) FILTER (WHERE condition = 'REFURBISHED'), 0) AS refurbished
    FROM ledger_whole GROUP BY sku, location),
taken AS (
    SELECT l.reservation_id, r.state, r.channel, l.sku, l.location, l.quantity, coalesce(p.released, 0) AS released, coalesce(p.cancelled, 0) AS cancelled,
           p.known_at IS NOT NULL AS is_known, coalesce(p.cancelling, 0) AS cancelling, coalesce(p.withdrawn, 0) AS withdrawn, coalesce(p.fulfilled, 0) AS fulfilled, coalesce(p.reflected, 0) AS reflected,
           -- Rule 15.
           CASE WHEN r.state = 'HELD' THEN l.quantity ELSE 0 END AS held,
           CASE WHEN r.state IN ('CONFIRMED', 'FULFILLED', 'CANCELLED')
                THEN l.quantity - coalesce(p.released + p.withdrawn + p.reflected, 0) ELSE 0 END AS committed,
           CASE WHEN r.state IN ('HELD', 'CONFIRMED', 'FULFILLED', 'CANCELLED')
                THEN l.quantity - coalesce(p.released + p.cancelled + p.fulfilled, 0) ELSE 0 END AS open
    FROM allocation l
    LEFT JOIN reservation r ON r.id = l.reservation_id
    LEFT JOIN progress p ON p.reservation_id = l.reservation_id AND p.sku = l.sku AND p.location = l.location),
live AS (
    SELECT sku, location, sum(held) AS held, sum(committed) AS committed
    FROM taken GROUP BY sku, location),
channelled AS (
    SELECT sku, channel, sum(open) AS units FROM taken WHERE channel IS NOT NULL GROUP BY sku, channel),
sales AS (
    SELECT reservation_id, state, sum(open) AS open, sum(fulfilled) AS fulfilled, sum(released + cancelled + cancelling + withdrawn + fulfilled + reflected) AS touched
    FROM taken GROUP BY reservation_id, state),
moves AS (
    SELECT cause_id, sku, location, sum(held) AS held, sum(committed) AS committed,
           count(*) FILTER (WHERE cause = 'RESERVE') AS reserved, count(*) FILTER (WHERE cause IN ('CONFIRM', 'RELEASE', 'EXPIRE')) AS ended,
           count(*) FILTER (WHERE cause = 'CONFIRM') AS confirmed,
           count(*) FILTER (WHERE cause IN ('FULFIL', 'CANCEL', 'EVIDENCE')) AS after, count(*) FILTER (WHERE cause = 'REPAIR') AS repaired
    FROM ledger WHERE cause IN ('RESERVE', 'CONFIRM', 'RELEASE', 'EXPIRE', 'FULFIL', 'CANCEL', 'EVIDENCE', 'REPAIR')
    GROUP BY cause_id, sku, location),
history AS (
    SELECT sku, location, version, cause, cause_id, at,
           sum(held + committed - on_hand - backorder + safety) OVER past AS beyond,
           lag(at) OVER past AS before,
           max(version) FILTER (WHERE cause = 'REPAIR') OVER (PARTITION BY sku, location) AS repaired
    FROM ledger_whole WINDOW past AS (PARTITION BY sku, location ORDER BY version))

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
       format('%s %s units of %s, ledger moved held by %s and committed by %s in %s reserve, %s ending and %s further entries', coalesce(l.state, 'without a row,'),
              coalesce(l.quantity, 0), coalesce(m.sku, l.sku) || '@' || coalesce(m.location, l.location),
              coalesce(m.held, 0), coalesce(m.committed, 0), coalesce(m.reserved, 0), coalesce(m.ended, 0), coalesce(m.after, 0))
FROM taken l FULL JOIN moves m ON m.cause_id = l.reservation_id AND m.sku = l.sku AND m.location = l.location
-- A repair explains what entries there are and are not; what they add up to must be right all the same.
WHERE NOT (l.reservation_id IS NULL AND m.reserved + m.ended + m.after = 0)
  AND (l.state IS NULL
   OR coalesce(m.repaired, 0) = 0 AND (coalesce(m.reserved, 0) <> 1
       OR coalesce(m.ended, 0) <> CASE WHEN l.state = 'HELD' THEN 0 ELSE 1 END
       OR m.confirmed <> CASE WHEN l.state IN ('CONFIRMED', 'FULFILLED', 'CANCELLED') THEN 1 ELSE 0 END)
   OR m.held <> l.held
   -- What a count reflected left committed by the count's entry, not by one of the reservation's: then only the rows' sums tell.
   OR abs(m.committed - l.committed) > CASE WHEN l.is_known THEN l.quantity ELSE 0 END)
  AND NOT is_forgotten(coalesce(m.cause_id, l.reservation_id), l.reservation_id IS NOT NULL, m.held)
UNION ALL
SELECT CASE WHEN s.state IN ('HELD', 'RELEASED', 'EXPIRED') THEN 'I3' ELSE 'I6' END, s.reservation_id::text,
       format('%s, but %s units of it are open, %s were shipped, and %s were otherwise moved', s.state, s.open, s.fulfilled, s.touched)
FROM sales s
WHERE CASE s.state WHEN 'CONFIRMED' THEN s.open <= 0
                   WHEN 'FULFILLED' THEN s.open <> 0 OR s.fulfilled = 0
                   WHEN 'CANCELLED' THEN s.open <> 0 OR s.fulfilled <> 0
                   ELSE s.touched <> 0 END
UNION ALL
SELECT 'I3', p.reservation_id::text, format('%s units at %s have a progress, but the allocation has %s', p.quantity, p.sku || '@' || p.location, coalesce(a.quantity, 0))
FROM progress p LEFT JOIN allocation a ON a.reservation_id = p.reservation_id AND a.sku = p.sku AND a.location = p.location
WHERE p.quantity IS DISTINCT FROM a.quantity
UNION ALL
SELECT 'I3', u.sku || ' by ' || u.channel, format('the channel''s counter says %s units, but its reservations have %s', u.units, coalesce(c.units, 0))
FROM channel_use u LEFT JOIN channelled c ON c.sku = u.sku AND c.channel = u.channel
WHERE u.units <> coalesce(c.units, 0)
UNION ALL
SELECT 'I3', p.sku || ' by ' || k.channel, 'a policy caps the channel, but nothing counts what it has'
FROM policy p CROSS JOIN LATERAL jsonb_object_keys(p.channel_caps) AS k(channel)
WHERE NOT EXISTS (SELECT FROM channel_use u WHERE u.sku = p.sku AND u.channel = k.channel)
UNION ALL
SELECT 'I3', s.sku || '@' || s.location, format('paused %s, but the SKU''s selling is paused %s', s.paused, g.paused_at IS NOT NULL)
FROM stock s LEFT JOIN selling g ON g.sku = s.sku
WHERE s.paused <> (g.paused_at IS NOT NULL)
UNION ALL
SELECT 'I3', coalesce(r.successor, r.id)::text, format('%s names it as its successor, but it does not name that one as its predecessor', r.id)
FROM reservation r LEFT JOIN reservation n ON n.id = r.successor
WHERE r.successor IS NOT NULL AND n.predecessor IS DISTINCT FROM r.id
UNION ALL
SELECT 'I3', s.sku || '@' || s.location,
       format('safety %s (%s for being late), backorder %s, archived %s, but the selling policy says %s, %s, %s', s.safety, s.buffer, s.backorder, s.archived,
              coalesce(p.safety, 0), CASE WHEN p.locations[1] = s.location THEN p.backorder ELSE 0 END, coalesce(p.archived, false))
FROM stock s JOIN policy p ON p.sku = s.sku AND p.version > 0
WHERE (s.safety - s.buffer, s.backorder, s.archived) IS DISTINCT FROM (p.safety, CASE WHEN p.locations[1] = s.location THEN p.backorder ELSE 0 END, p.archived)
UNION ALL
SELECT 'I3', r.id::text, format('%s without allocations', r.state)
FROM reservation r
WHERE r.state IN ('HELD', 'CONFIRMED', 'FULFILLED', 'EXPIRED', 'CANCELLED')
  AND NOT EXISTS (SELECT FROM allocation a WHERE a.reservation_id = r.id)
ORDER BY 1, 2
LIMIT $1
