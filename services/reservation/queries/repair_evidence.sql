-- What repair decides on, read under the locks: for the rows of stock ($1 SKUs, $2 locations) what their ledger says and what reservations promise there; and for
-- every reservation on those rows that is wrong or among $3, what it should count for and what the ledger says of it.
WITH keys AS MATERIALIZED (SELECT DISTINCT k.sku COLLATE "C" AS sku, k.location COLLATE "C" AS location FROM unnest($1::text[], $2::text[]) AS k(sku, location)),
entries AS MATERIALIZED (
    SELECT l.sku, l.location, l.version, l.cause, l.cause_id, l.on_hand, l.held, l.committed, l.safety, l.backorder, l.unsellable, l.condition, l.freshness, l.cap, l.archived, l.paused, l.entries
    FROM keys k JOIN ledger_whole l ON l.sku = k.sku AND l.location = k.location),
promises AS MATERIALIZED (SELECT p.* FROM keys k JOIN promise p ON p.sku = k.sku AND p.location = k.location),
history AS (
    SELECT sku, location, version, cause, sum(held + committed - on_hand - backorder + safety) OVER (PARTITION BY sku, location ORDER BY version) AS beyond FROM entries),
moves AS (
    SELECT cause_id, sku, location, sum(held)::bigint AS held, sum(committed)::bigint AS committed,
           coalesce(sum(held) FILTER (WHERE cause = 'RESERVE'), 0)::bigint AS taken,
           count(*) FILTER (WHERE cause = 'RESERVE') AS reserved, count(*) FILTER (WHERE cause IN ('CONFIRM', 'RELEASE', 'EXPIRE')) AS ended,
           count(*) FILTER (WHERE cause = 'CONFIRM') AS confirmed, count(*) FILTER (WHERE cause IN ('FULFIL', 'CANCEL', 'EVIDENCE')) AS after,
           count(*) FILTER (WHERE cause = 'REPAIR') AS repaired,
           (array_agg(cause ORDER BY version DESC) FILTER (WHERE cause IN ('RESERVE', 'CONFIRM', 'RELEASE', 'EXPIRE')))[1] AS last
    FROM entries WHERE cause IN ('RESERVE', 'CONFIRM', 'RELEASE', 'EXPIRE', 'FULFIL', 'CANCEL', 'EVIDENCE', 'REPAIR')
    GROUP BY cause_id, sku, location)
SELECT jsonb_build_object(
    'rows', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'sku', k.sku, 'location', k.location, 'entries', coalesce(s.entries, 0), 'newest', coalesce(s.newest, 0),
                 'on_hand', coalesce(s.on_hand, 0), 'held', coalesce(s.held, 0), 'committed', coalesce(s.committed, 0), 'safety', coalesce(s.safety, 0),
                 'backorder', coalesce(s.backorder, 0), 'damaged', coalesce(s.damaged, 0), 'quality_hold', coalesce(s.quality_hold, 0),
                 'refurbished', coalesce(s.refurbished, 0), 'freshness', coalesce(s.freshness, 'FRESH'), 'cap', coalesce(s.cap, -1),
                 'archived', coalesce(s.archived, false), 'paused', coalesce(s.paused, false), 'promised_held', coalesce(v.held, 0), 'promised_committed', coalesce(v.committed, 0),
                 'oversold', EXISTS (SELECT FROM history h WHERE h.sku = k.sku AND h.location = k.location AND h.cause = 'RESERVE' AND h.beyond > 0
                                     AND h.version > coalesce(s.repaired, 0)))), '[]')
             FROM keys k
             LEFT JOIN (SELECT sku, location, sum(entries)::bigint AS entries, max(version) AS newest, sum(on_hand)::bigint AS on_hand, sum(held)::bigint AS held,
                               sum(committed)::bigint AS committed, sum(safety)::bigint AS safety, sum(backorder)::bigint AS backorder,
                               coalesce(sum(unsellable) FILTER (WHERE condition = 'DAMAGED'), 0)::bigint AS damaged,
                               coalesce(sum(unsellable) FILTER (WHERE condition = 'QUALITY_HOLD'), 0)::bigint AS quality_hold,
                               coalesce(sum(unsellable) FILTER (WHERE condition = 'REFURBISHED'), 0)::bigint AS refurbished,
                               max(version) FILTER (WHERE cause = 'REPAIR') AS repaired,
                               (array_agg(freshness ORDER BY version DESC) FILTER (WHERE freshness IS NOT NULL))[1] AS freshness,
                               (array_agg(cap ORDER BY version DESC) FILTER (WHERE cap IS NOT NULL))[1] AS cap,
                               (array_agg(archived ORDER BY version DESC) FILTER (WHERE archived IS NOT NULL))[1] AS archived,
                               (array_agg(paused ORDER BY version DESC) FILTER (WHERE paused IS NOT NULL))[1] AS paused
                        FROM entries GROUP BY sku, location) s ON s.sku = k.sku AND s.location = k.location
             LEFT JOIN (SELECT sku, location, sum(held)::bigint AS held, sum(committed)::bigint AS committed FROM promises GROUP BY sku, location) v
                 ON v.sku = k.sku AND v.location = k.location),
    'movements', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                      'reservation_id', coalesce(m.cause_id, p.reservation_id), 'sku', coalesce(m.sku, p.sku), 'location', coalesce(m.location, p.location),
                      'state', (SELECT r.state FROM reservation r WHERE r.id = coalesce(m.cause_id, p.reservation_id)),
                      'allocated', coalesce(p.quantity, 0), 'promised_held', coalesce(p.held, 0), 'promised_committed', coalesce(p.committed, 0),
                      'progressed', g.quantity, 'progress', CASE WHEN g.quantity IS NOT NULL THEN progress_json(g) END,
                      'loose', CASE WHEN g.known_at IS NOT NULL THEN g.quantity ELSE 0 END, 'held', coalesce(m.held, 0), 'committed', coalesce(m.committed, 0), 'taken', coalesce(m.taken, 0), 'reserved', coalesce(m.reserved, 0),
                      'ended', coalesce(m.ended, 0), 'after', coalesce(m.after, 0), 'repaired', coalesce(m.repaired, 0), 'last', m.last)), '[]')
                  FROM promises p FULL JOIN moves m ON m.cause_id = p.reservation_id AND m.sku = p.sku AND m.location = p.location
                  LEFT JOIN progress g ON g.reservation_id = coalesce(m.cause_id, p.reservation_id) AND g.sku = coalesce(m.sku, p.sku)
                                      AND g.location = coalesce(m.location, p.location)
                  WHERE NOT (p.reservation_id IS NULL AND m.reserved + m.ended + m.after = 0)
                    AND NOT is_forgotten(coalesce(m.cause_id, p.reservation_id), p.reservation_id IS NOT NULL, m.held)
                    AND (coalesce(m.cause_id, p.reservation_id) = ANY ($3::uuid[])
                         OR p.state IS NULL OR coalesce(m.held, 0) <> p.held OR abs(coalesce(m.committed, 0) - p.committed) > p.loose
                         OR p.progressed <> p.quantity OR (m.after > 0 AND p.progressed IS NULL)
                         OR coalesce(m.repaired, 0) = 0 AND (coalesce(m.reserved, 0) <> 1 OR coalesce(m.ended, 0) <> CASE WHEN p.state = 'HELD' THEN 0 ELSE 1 END
                                                             OR m.confirmed <> CASE WHEN p.state IN ('CONFIRMED', 'FULFILLED', 'CANCELLED') THEN 1 ELSE 0 END))))
