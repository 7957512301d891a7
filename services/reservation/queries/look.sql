-- The read queue's one statement for everybody who waits: $1 the keys, $2 the SKUs. Due holds do not count (they belong to nobody), though the sweeper has not come
-- by yet. archived and paused: those of the SKUs that are not sold any more, and those whose selling is paused. is_standby: this is no primary, and
-- what it says may be old. has_standby: commits wait for one, reads do not.
WITH due AS MATERIALIZED (
    SELECT sku, location, sum(quantity)::bigint AS units FROM due_allocation WHERE sku = ANY ($2) GROUP BY sku, location)
SELECT jsonb_build_object(
    'read_at', micros(statement_timestamp()),
    'is_standby', pg_is_in_recovery(),
    'has_standby', current_setting('synchronous_standby_names') <> '',
    'records', (SELECT coalesce(jsonb_agg(record_json(r)), '[]') FROM reservation r WHERE r.id = ANY ($1)),
    'archived', (SELECT coalesce(jsonb_agg(p.sku), '[]') FROM policy p WHERE p.sku = ANY ($2) AND p.archived),
    'paused', (SELECT coalesce(jsonb_agg(g.sku), '[]') FROM selling g WHERE g.sku = ANY ($2) AND g.paused_at IS NOT NULL),
    'available', (SELECT coalesce(jsonb_agg(jsonb_build_array(s.sku, s.location, available_of(s, coalesce(d.units, 0))) ORDER BY s.sku, s.rank, s.location), '[]')
                  FROM stock s LEFT JOIN due d ON d.sku = s.sku AND d.location = s.location
                  WHERE s.sku = ANY ($2)))
