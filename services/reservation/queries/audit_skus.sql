-- What is wrong with the SKUs in $1, in one statement and so in one snapshot: safe beside load. audit.sql asks the same of everything at once; this one asks besides
-- whether rows follow their policy's order of locations and what the ledger last turned them to. At most $2 findings.
-- Columns: the kind, SKU, location, reservation (zeros: none), what is wrong, when the row last changed in microseconds, units (OVERSOLD: taken beyond what was
-- available).
WITH rows AS MATERIALIZED (SELECT * FROM stock WHERE sku = ANY ($1)),
entries AS MATERIALIZED (
    SELECT sku, location, version, at, cause, cause_id, on_hand, held, committed, safety, backorder, unsellable, condition, freshness, cap, archived, paused, entries
    FROM ledger_whole WHERE sku = ANY ($1)),
promises AS MATERIALIZED (SELECT * FROM promise WHERE sku = ANY ($1)),
sums AS MATERIALIZED (
    SELECT sku, location, sum(entries) AS entries, max(version) AS newest, micros(max(at)) AS changed_at, sum(on_hand) AS on_hand, sum(held) AS held,
           sum(committed) AS committed, sum(safety) AS safety, sum(backorder) AS backorder,
           coalesce(sum(unsellable) FILTER (WHERE condition = 'DAMAGED'), 0) AS damaged,
           coalesce(sum(unsellable) FILTER (WHERE condition = 'QUALITY_HOLD'), 0) AS quality_hold,
           coalesce(sum(unsellable) FILTER (WHERE condition = 'REFURBISHED'), 0) AS refurbished,
           max(version) FILTER (WHERE cause = 'REPAIR') AS repaired,
           (array_agg(freshness ORDER BY version DESC) FILTER (WHERE freshness IS NOT NULL))[1] AS freshness,
           (array_agg(cap ORDER BY version DESC) FILTER (WHERE cap IS NOT NULL))[1] AS cap,
           (array_agg(archived ORDER BY version DESC) FILTER (WHERE archived IS NOT NULL))[1] AS archived,
           (array_agg(paused ORDER BY version DESC) FILTER (WHERE paused IS NOT NULL))[1] AS paused
    FROM entries GROUP BY sku, location),
live AS (SELECT sku, location, sum(held) AS held, sum(committed) AS committed FROM promises GROUP BY sku, location),
history AS (
    SELECT sku, location, version, cause, cause_id, at, held,
           sum(held + committed - on_hand - backorder + safety) OVER past AS beyond,
           lag(at) OVER past AS before
    FROM entries WINDOW past AS (PARTITION BY sku, location ORDER BY version)),
moves AS (
    SELECT cause_id, sku, location, sum(held) AS held, sum(committed) AS committed,
           count(*) FILTER (WHERE cause = 'RESERVE') AS reserved, count(*) FILTER (WHERE cause IN ('CONFIRM', 'RELEASE', 'EXPIRE')) AS ended,
           count(*) FILTER (WHERE cause = 'CONFIRM') AS confirmed, count(*) FILTER (WHERE cause IN ('FULFIL', 'CANCEL', 'EVIDENCE')) AS after,
           count(*) FILTER (WHERE cause = 'REPAIR') AS repaired
    FROM entries WHERE cause IN ('RESERVE', 'CONFIRM', 'RELEASE', 'EXPIRE', 'FULFIL', 'CANCEL', 'EVIDENCE', 'REPAIR')
    GROUP BY cause_id, sku, location),
found AS (
    SELECT 'SHORTFALL' AS kind, s.sku, s.location, NULL::uuid AS reservation_id,
           format('held %s + committed %s, on hand %s + backorder %s: the shortfall is not %s', s.held, s.committed, s.on_hand, s.backorder, s.shortfall) AS detail,
           0::numeric AS units
    FROM rows s WHERE s.shortfall <> greatest(0, s.held + s.committed - s.on_hand - s.backorder)
    UNION ALL
    SELECT 'OVERSOLD', h.sku, h.location, NULL, format('%s reservations took more units than were available, the last %s at version %s', count(*), (array_agg(h.cause_id ORDER BY h.version DESC))[1], max(h.version)),
           -- What a count had taken away before is not this reservation's doing.
           sum(least(h.beyond, h.held))
    FROM history h JOIN sums l ON l.sku = h.sku AND l.location = h.location
    WHERE h.cause = 'RESERVE' AND h.beyond > 0 AND h.version > coalesce(l.repaired, 0)
    GROUP BY h.sku, h.location
    UNION ALL
    SELECT 'LEDGER_SUM', coalesce(s.sku, l.sku), coalesce(s.location, l.location), NULL,
           format('stock (on_hand, held, committed, safety, backorder, unsellable) (%s, %s, %s, %s, %s, %s/%s/%s) is not its ledger''s sum (%s, %s, %s, %s, %s, %s/%s/%s)',
                  s.on_hand, s.held, s.committed, s.safety, s.backorder, s.damaged, s.quality_hold, s.refurbished,
                  l.on_hand, l.held, l.committed, l.safety, l.backorder, l.damaged, l.quality_hold, l.refurbished), 0
    FROM rows s FULL JOIN sums l ON l.sku = s.sku AND l.location = s.location
    WHERE (s.on_hand, s.held, s.committed, s.safety, s.backorder, s.damaged, s.quality_hold, s.refurbished)
          IS DISTINCT FROM (l.on_hand, l.held, l.committed, l.safety, l.backorder, l.damaged, l.quality_hold, l.refurbished)
          AND NOT (l.sku IS NULL AND (s.on_hand, s.held, s.committed, s.safety, s.backorder, s.damaged, s.quality_hold, s.refurbished) = (0, 0, 0, 0, 0, 0, 0, 0))
    UNION ALL
    SELECT 'LEDGER_CHAIN', s.sku, s.location, NULL, format('version %s, but %s ledger entries up to version %s', s.version, coalesce(l.entries, 0), coalesce(l.newest, 0)), 0
    FROM rows s LEFT JOIN sums l ON l.sku = s.sku AND l.location = s.location
    WHERE s.version <> coalesce(l.entries, 0) OR s.version <> coalesce(l.newest, 0)
    UNION ALL
    SELECT 'LEDGER_CHAIN', h.sku, h.location, NULL, format('version %s is dated before the version it follows', max(h.version)), 0
    FROM history h WHERE h.at < h.before
      AND NOT EXISTS (SELECT FROM rows s JOIN sums l ON l.sku = s.sku AND l.location = s.location
                      WHERE s.sku = h.sku AND s.location = h.location AND (s.version <> l.entries OR s.version <> l.newest))
    GROUP BY h.sku, h.location
    UNION ALL
    SELECT 'PROMISES', coalesce(s.sku, v.sku), coalesce(s.location, v.location), NULL,
           format('held %s and committed %s, but the reservations'' allocations add up to %s and %s', s.held, s.committed, coalesce(v.held, 0), coalesce(v.committed, 0)), 0
    FROM rows s FULL JOIN live v ON v.sku = s.sku AND v.location = s.location
    WHERE (coalesce(s.held, 0), coalesce(s.committed, 0)) <> (coalesce(v.held, 0), coalesce(v.committed, 0))
    UNION ALL
    SELECT 'RESERVATION', coalesce(m.sku, p.sku), coalesce(m.location, p.location), coalesce(m.cause_id, p.reservation_id),
           format('%s %s units, ledger moved held by %s and committed by %s in %s reserve, %s ending and %s further entries; %s units have a progress', coalesce(p.state, 'without a row,'),
                  coalesce(p.quantity, 0), coalesce(m.held, 0), coalesce(m.committed, 0), coalesce(m.reserved, 0), coalesce(m.ended, 0), coalesce(m.after, 0), coalesce(p.progressed, 0)), 0
    FROM promises p FULL JOIN moves m ON m.cause_id = p.reservation_id AND m.sku = p.sku AND m.location = p.location
    WHERE NOT (p.reservation_id IS NULL AND m.reserved + m.ended + m.after = 0)
      -- What is_forgotten says, asked once and not for each reservation: of a SKU that sells well most are purged.
      AND NOT coalesce(coalesce(m.cause_id, p.reservation_id) < (SELECT uuid_floor(kept_from + interval '1 hour') FROM retention WHERE subject = 'ledger'), false)
      AND NOT coalesce(p.reservation_id IS NULL AND m.held = 0 AND m.cause_id < (SELECT uuid_floor(kept_from) FROM retention WHERE subject = 'reservation'), false)
      AND (p.state IS NULL
           OR coalesce(m.held, 0) <> p.held OR abs(coalesce(m.committed, 0) - p.committed) > p.loose
           OR p.progressed <> p.quantity OR (m.after > 0 AND p.progressed IS NULL)
           OR coalesce(m.repaired, 0) = 0 AND (coalesce(m.reserved, 0) <> 1 OR coalesce(m.ended, 0) <> CASE WHEN p.state = 'HELD' THEN 0 ELSE 1 END
                                               OR m.confirmed <> CASE WHEN p.state IN ('CONFIRMED', 'FULFILLED', 'CANCELLED') THEN 1 ELSE 0 END))
    UNION ALL
    SELECT 'POLICY', s.sku, s.location, NULL,
           format('safety %s (%s for being late), backorder %s, archived %s, rank %s, but the selling policy says %s, %s, %s, %s', s.safety, s.buffer, s.backorder, s.archived, s.rank,
                  p.safety, w.backorder, p.archived, w.rank), 0
    FROM rows s JOIN policy p ON p.sku = s.sku AND p.version > 0
    CROSS JOIN LATERAL (SELECT CASE WHEN p.locations[1] = s.location THEN p.backorder ELSE 0 END AS backorder,
                               coalesce(array_position(p.locations, s.location) - 1, 32767) AS rank) w
    WHERE (s.safety - s.buffer, s.backorder, s.archived, s.rank::integer) IS DISTINCT FROM (p.safety, w.backorder, p.archived, w.rank)
    UNION ALL
    SELECT 'CHANNEL', u.sku, '', NULL,
           string_agg(format('channel %s is counted with %s units, but its reservations have %s', u.channel, u.units, coalesce(c.units, 0)), '; ' ORDER BY u.channel), 0
    FROM channel_use u
    LEFT JOIN (SELECT sku, channel, sum(open) AS units FROM promises WHERE channel IS NOT NULL GROUP BY sku, channel) c ON c.sku = u.sku AND c.channel = u.channel
    WHERE u.sku = ANY ($1) AND u.units <> coalesce(c.units, 0)
    GROUP BY u.sku
    UNION ALL
    SELECT 'TURN', s.sku, s.location, NULL,
           format('freshness %s, offer limit %s, archived %s, paused %s, but the ledger last said %s, %s, %s, %s; the SKU''s selling is paused: %s', s.freshness,
                  coalesce(s.cap_units::text, 'none'), s.archived, s.paused, coalesce(l.freshness, 'FRESH'), coalesce(nullif(l.cap, -1)::text, 'none'),
                  coalesce(l.archived, false), coalesce(l.paused, false), g.paused_at IS NOT NULL), 0
    FROM rows s JOIN sums l ON l.sku = s.sku AND l.location = s.location
    LEFT JOIN selling g ON g.sku = s.sku
    -- A row that a replica of the version before made of a paused SKU is paused without a word in the ledger.
    WHERE (s.freshness, coalesce(s.cap_units, -1), s.archived) <> (coalesce(l.freshness, 'FRESH'), coalesce(l.cap, -1), coalesce(l.archived, false))
       OR s.paused <> coalesce(l.paused, s.paused) OR s.paused <> (g.paused_at IS NOT NULL))

SELECT f.kind, f.sku, f.location, coalesce(f.reservation_id, '00000000-0000-0000-0000-000000000000') AS reservation_id, f.detail, coalesce(l.changed_at, 0) AS changed_at, f.units::bigint AS units
FROM found f LEFT JOIN sums l ON l.sku = f.sku AND l.location = f.location
ORDER BY f.sku, f.location, f.kind, f.reservation_id
LIMIT $2
