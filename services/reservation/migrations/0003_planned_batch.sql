-- The planned path: lock everything that a batch is about and read it in one round trip, decide in Rust (holdfast_stock::plan), write the plan in another.
-- The order of locks is commit_fast's.

CREATE FUNCTION level_json(s stock) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'sku', s.sku, 'location', s.location, 'on_hand', s.on_hand, 'held', s.held, 'committed', s.committed,
        'safety', s.safety, 'backorder', s.backorder, 'shortfall', s.shortfall,
        'damaged', s.damaged, 'quality_hold', s.quality_hold, 'refurbished', s.refurbished,
        'count_as_of', micros(s.count_as_of), 'count_sequence', s.count_sequence, 'version', s.version);
COMMENT ON FUNCTION level_json IS 'A row of stock, in the form that the service''s store reads and writes.';

CREATE TYPE stock_key AS (sku text COLLATE "C", location text COLLATE "C");
COMMENT ON TYPE stock_key IS 'Names a row of stock.';

-- claims: keys that the batch may create. touches: reservations that it changes. skus: what it takes from, at whatever location; their due holds are
-- found and locked too (OFFSET 0 as in due_allocation). row_*: further rows of stock. new_*: rows of stock that it may create. due_max: how many due holds to take along.
CREATE FUNCTION lock_batch(
    claims uuid[], touches uuid[], requests uuid[], skus text[],
    row_sku text[], row_location text[], new_sku text[], new_location text[], due_max integer
) RETURNS jsonb
    LANGUAGE plpgsql
AS $$
DECLARE
    claimed    uuid[];
    found_due  uuid[];
    locked_due uuid[];
    created    jsonb;
    due_at     timestamptz;
    decided_at timestamptz;
    rows       stock_key[];
BEGIN
    WITH inserted AS (
        INSERT INTO reservation (id, state, created_at, state_at, version)
        SELECT c.id, 'RELEASED', clock_timestamp(), clock_timestamp(), 1 FROM unnest(claims) AS c(id) ORDER BY c.id
        ON CONFLICT DO NOTHING
        RETURNING id)
    SELECT coalesce(array_agg(id), '{}') INTO claimed FROM inserted;

    PERFORM FROM reservation WHERE id = ANY (claims || touches) ORDER BY id FOR UPDATE;

    due_at := clock_timestamp();
    SELECT coalesce(array_agg(d.id), '{}') INTO found_due
    FROM (SELECT DISTINCT r.id FROM reservation r
          CROSS JOIN LATERAL (SELECT sku FROM allocation WHERE reservation_id = r.id OFFSET 0) a
          WHERE r.state = 'HELD' AND r.expires_at <= due_at AND a.sku = ANY (skus)
          LIMIT due_max) d;

    WITH inserted AS (
        INSERT INTO stock (sku, location)
        SELECT DISTINCT n.sku, n.location FROM unnest(new_sku, new_location) AS n(sku, location) ORDER BY n.sku, n.location
        ON CONFLICT DO NOTHING
        RETURNING sku, location)
    SELECT coalesce(jsonb_agg(jsonb_build_array(sku, location)), '[]') INTO created FROM inserted;

    -- One pass over everything, ascending, whatever the reason for locking it.
    SELECT coalesce(array_agg(ROW (k.sku, k.location)::stock_key), '{}') INTO rows
    FROM (SELECT s.sku, s.location FROM stock s WHERE s.sku = ANY (skus)
          UNION SELECT * FROM unnest(row_sku || new_sku, row_location || new_location)
          UNION SELECT a.sku, a.location FROM allocation a WHERE a.reservation_id = ANY (claims || touches || found_due)) k;
    PERFORM FROM stock s JOIN unnest(rows) k ON s.sku = k.sku AND s.location = k.location
    ORDER BY s.sku, s.location FOR UPDATE OF s;
    decided_at := clock_timestamp();

    -- Never waited for: stock is locked already.
    WITH locked AS (
        SELECT r.id FROM reservation r
        WHERE r.id = ANY (found_due) AND r.state = 'HELD' AND r.expires_at <= decided_at
        ORDER BY r.id FOR UPDATE SKIP LOCKED)
    SELECT coalesce(array_agg(id), '{}') INTO locked_due FROM locked;

    RETURN jsonb_build_object(
        'decided_at', micros(decided_at),
        'claimed', to_jsonb(claimed),
        'created', created,
        'due', to_jsonb(locked_due),
        -- Units of further due holds: busy elsewhere, beyond due_max, or due only since. Who lacks just these is told to ask again. Those that the batch names are
        -- in records, where the planner counts them.
        'overdue', (SELECT coalesce(jsonb_agg(jsonb_build_array(o.sku, o.location, o.units)), '[]')
                    FROM (SELECT a.sku, a.location, sum(a.quantity)::bigint AS units
                          FROM reservation r
                          CROSS JOIN LATERAL (SELECT * FROM allocation WHERE reservation_id = r.id OFFSET 0) a
                          WHERE r.state = 'HELD' AND r.expires_at <= decided_at
                            AND r.id <> ALL (claims || touches || locked_due) AND a.sku = ANY (skus)
                          GROUP BY a.sku, a.location) o),
        'records', (SELECT coalesce(jsonb_agg(record_json(r)), '[]') FROM reservation r
                    WHERE r.id = ANY (claims || touches || locked_due) AND r.id <> ALL (claimed)),
        'operations', (SELECT coalesce(jsonb_agg(jsonb_build_array(o.request_id, encode(o.payload_hash, 'hex'), o.answer)), '[]')
                       FROM operation o WHERE o.request_id = ANY (requests)),
        'levels', (SELECT coalesce(jsonb_agg(level_json(s)), '[]') FROM stock s
                   WHERE s.sku IN (SELECT k.sku FROM unnest(rows) k)));
END
$$;
COMMENT ON FUNCTION lock_batch IS 'Claims, locks and reads what a batch is about; levels holds every location of the SKUs, locked or not.';

-- The forms in which a plan's parts travel: instants as microseconds, hashes as hexadecimal.
CREATE TYPE level_row AS (
    sku text, location text, on_hand bigint, held bigint, committed bigint, safety bigint, backorder bigint, shortfall bigint,
    damaged bigint, quality_hold bigint, refurbished bigint, count_as_of bigint, count_sequence bigint, version bigint,
    may_raise_shortfall boolean
);
COMMENT ON TYPE level_row IS 'A row of stock in a plan.';
CREATE TYPE record_row AS (
    id uuid, owner text, payload_hash text, lines jsonb, state text, created_at bigint, first_expires_at bigint, expires_at bigint,
    state_at bigint, version bigint, shortages jsonb
);
COMMENT ON TYPE record_row IS 'A reservation in a plan, without its allocations.';
CREATE TYPE ledger_row AS (
    sku text, location text, version bigint, at bigint, cause text, cause_id uuid, on_hand bigint, held bigint, committed bigint,
    safety bigint, backorder bigint, unsellable bigint, condition text, reason text, actor text, note text
);
COMMENT ON TYPE ledger_row IS 'A ledger entry in a plan.';

CREATE FUNCTION write_batch(plan jsonb) RETURNS jsonb
    LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE stock s
    SET on_hand = p.on_hand, held = p.held, committed = p.committed, safety = p.safety, backorder = p.backorder,
        -- I2: only what a count, an adjustment or a policy did to a row may raise its shortfall; if anything else would, the CHECK refuses.
        shortfall = CASE WHEN p.may_raise_shortfall THEN p.shortfall ELSE least(s.shortfall, p.shortfall) END, damaged = p.damaged, quality_hold = p.quality_hold, refurbished = p.refurbished,
        count_as_of = from_micros(p.count_as_of), count_sequence = p.count_sequence, version = p.version
    FROM jsonb_populate_recordset(NULL::level_row, plan -> 'levels') p
    WHERE s.sku = p.sku AND s.location = p.location;

    DELETE FROM stock s
    USING jsonb_array_elements(plan -> 'created') c
    WHERE s.sku = c ->> 0 AND s.location = c ->> 1 AND s.version = 0 AND s.count_as_of IS NULL;

    DELETE FROM reservation WHERE id IN (SELECT d::uuid FROM jsonb_array_elements_text(plan -> 'unused') d);

    UPDATE reservation r
    SET owner = p.owner, payload_hash = decode(p.payload_hash, 'hex'), lines = p.lines, state = p.state, created_at = from_micros(p.created_at),
        first_expires_at = from_micros(p.first_expires_at), expires_at = from_micros(p.expires_at),
        state_at = from_micros(p.state_at), version = p.version, shortages = p.shortages
    FROM jsonb_populate_recordset(NULL::record_row, plan -> 'records') p
    WHERE r.id = p.id;

    INSERT INTO allocation (reservation_id, sku, location, quantity)
    SELECT (a ->> 0)::uuid, a ->> 1, a ->> 2, (a ->> 3)::bigint
    FROM jsonb_array_elements(plan -> 'allocations') a;

    INSERT INTO ledger (sku, location, version, at, cause, cause_id, on_hand, held, committed, safety, backorder,
                        unsellable, condition, reason, actor, note)
    SELECT p.sku, p.location, p.version, from_micros(p.at), p.cause, p.cause_id, p.on_hand, p.held, p.committed, p.safety,
           p.backorder, p.unsellable, p.condition, p.reason, p.actor, p.note
    FROM jsonb_populate_recordset(NULL::ledger_row, plan -> 'ledger') p;

    INSERT INTO operation (request_id, payload_hash, answer, created_at)
    SELECT (o ->> 0)::uuid, decode(o ->> 1, 'hex'), o -> 2, from_micros((plan ->> 'decided_at')::bigint)
    FROM jsonb_array_elements(plan -> 'operations') o
    ORDER BY 1;

    RETURN available_json(ARRAY(SELECT DISTINCT p ->> 'sku' FROM jsonb_array_elements(plan -> 'levels') p));
END
$$;
COMMENT ON FUNCTION write_batch IS 'Writes a plan made on what lock_batch read, in the same transaction; returns what the gate is to be told.';
