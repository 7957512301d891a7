-- Notes what was found and confirmed: [{id, kind, sku, location, reservation_id, detail, changed_at micros, units}] in $1; one that is open already is seen again. At most
-- $2 are open. Returns which were new, each with how long it could have been seen before, in microseconds.
WITH given AS (
    SELECT f.* FROM jsonb_to_recordset($1) AS f(id uuid, kind text, sku text, location text, reservation_id uuid, detail text, changed_at bigint, units bigint)
    ORDER BY f.kind, f.sku COLLATE "C", f.location COLLATE "C", f.reservation_id),
room AS (SELECT greatest(0, $2 - count(*)) AS n FROM discrepancy WHERE resolved_at IS NULL),
known AS (
    SELECT g.id FROM given g JOIN discrepancy d
        ON d.kind = g.kind AND d.sku = g.sku AND d.location = g.location AND d.reservation_id = g.reservation_id AND d.resolved_at IS NULL),
noted AS (
    INSERT INTO discrepancy AS d (id, kind, sku, location, reservation_id, detail, since, found_at, seen_at, units)
    SELECT g.id, g.kind, g.sku, g.location, g.reservation_id, g.detail,
           least(statement_timestamp(), greatest(from_micros(g.changed_at), (SELECT last_began_at FROM audit_turn))), statement_timestamp(), statement_timestamp(), greatest(0, coalesce(g.units, 0))
    FROM given g
    WHERE g.id IN (SELECT id FROM known) OR g.id IN (SELECT n.id FROM given n WHERE n.id NOT IN (SELECT id FROM known) LIMIT (SELECT n FROM room))
    ON CONFLICT (kind, sku, location, reservation_id) WHERE resolved_at IS NULL
    DO UPDATE SET seen_at = greatest(d.seen_at, excluded.seen_at), detail = excluded.detail, units = excluded.units
    RETURNING d.id, d.since, d.found_at)
SELECT n.id, micros(n.found_at) - micros(n.since) FROM noted n JOIN given g ON g.id = n.id
