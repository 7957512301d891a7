-- SKU $1 at location $2 (empty: at each) as it stood at $3 micros, added up from the ledger alone; when its ledger begins (null: there is none); Postgres's clock.
WITH entry AS NOT MATERIALIZED (
    SELECT l.* FROM ledger l WHERE l.sku = $1 AND ($2 = '' OR l.location = $2) AND l.at <= from_micros($3)),
total AS (
    SELECT e.location, max(e.version) AS version, sum(e.on_hand)::bigint AS on_hand, sum(e.held)::bigint AS held, sum(e.committed)::bigint AS committed,
           sum(e.safety)::bigint AS safety, sum(e.backorder)::bigint AS backorder,
           coalesce(sum(e.unsellable) FILTER (WHERE e.condition = 'DAMAGED'), 0)::bigint AS damaged,
           coalesce(sum(e.unsellable) FILTER (WHERE e.condition = 'QUALITY_HOLD'), 0)::bigint AS quality_hold,
           coalesce(sum(e.unsellable) FILTER (WHERE e.condition = 'REFURBISHED'), 0)::bigint AS refurbished,
           max(e.version) FILTER (WHERE e.freshness IS NOT NULL) AS freshness_version,
           max(e.version) FILTER (WHERE e.cap IS NOT NULL) AS cap_version,
           max(e.version) FILTER (WHERE e.archived IS NOT NULL) AS archived_version,
           max(e.version) FILTER (WHERE e.paused IS NOT NULL) AS paused_version
    FROM entry e GROUP BY e.location)
SELECT jsonb_build_object(
    'now', micros(statement_timestamp()),
    'begins', (SELECT micros(min(l.at)) FROM ledger l WHERE l.sku = $1 AND ($2 = '' OR l.location = $2)),
    'levels', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'location', t.location, 'version', t.version, 'on_hand', t.on_hand, 'held', t.held, 'committed', t.committed, 'safety', t.safety,
        'backorder', t.backorder, 'damaged', t.damaged, 'quality_hold', t.quality_hold, 'refurbished', t.refurbished,
        'freshness', f.freshness, 'cap', c.cap, 'archived', a.archived, 'paused', p.paused) ORDER BY t.location), '[]')
        FROM total t
        LEFT JOIN ledger f ON f.sku = $1 AND f.location = t.location AND f.version = t.freshness_version
        LEFT JOIN ledger c ON c.sku = $1 AND c.location = t.location AND c.version = t.cap_version
        LEFT JOIN ledger a ON a.sku = $1 AND a.location = t.location AND a.version = t.archived_version
        LEFT JOIN ledger p ON p.sku = $1 AND p.location = t.location AND p.version = t.paused_version))
