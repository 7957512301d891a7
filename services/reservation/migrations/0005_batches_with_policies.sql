-- The batch that needs no thinking, with selling policies: commit_fast of 0002, and what may deviate besides (HF003, naming them) are carts
-- beyond a policy's limit. r_hold may be
-- null: the hold lasts as the policies of the cart's SKUs say, or else hold_default; never longer than hold_longest. Order of locks, the same on every path:
-- reservation keys (inserted), reservations, rows of stock that are made, policies, marks, stock, request keys; each ascending.

CREATE FUNCTION commit_fast(
    r_id uuid[], r_owner text[], r_hash bytea[], r_lines jsonb[], r_hold bigint[], r_actor text[],
    a_reservation uuid[], a_sku text[], a_location text[], a_quantity bigint[],
    t_request uuid[], t_hash bytea[], t_id uuid[], t_state text[], t_actor text[],
    hold_default bigint, hold_longest bigint
) RETURNS jsonb
    LANGUAGE plpgsql
AS $$
DECLARE
    claimed_at timestamptz := clock_timestamp();
    decided_at timestamptz;
    landed     uuid[];
    changes    stock_change[];
    touched    bigint;
    changed    bigint;
    updated    bigint;
    is_limited boolean;
    over       uuid[];
BEGIN
    -- Keys first. A key that exists already stays as it is; the caller reads it afterwards.
    WITH claimed AS (
        INSERT INTO reservation (id, owner, payload_hash, lines, state, created_at, first_expires_at, expires_at, state_at, version)
        SELECT r.id, r.owner, r.hash, r.lines, 'HELD', claimed_at, claimed_at + h.hold * interval '1 microsecond',
               claimed_at + h.hold * interval '1 microsecond', claimed_at, 1
        FROM unnest(r_id, r_owner, r_hash, r_lines, r_hold) AS r(id, owner, hash, lines, hold)
        LEFT JOIN (SELECT a.reservation, min(p.default_hold) AS hold
                   FROM unnest(a_reservation, a_sku) AS a(reservation, sku)
                   JOIN policy p ON p.sku = a.sku AND p.default_hold IS NOT NULL
                   GROUP BY a.reservation) d ON d.reservation = r.id
        CROSS JOIN LATERAL (SELECT coalesce(r.hold, least(hold_longest, coalesce(d.hold, hold_default))) AS hold) h
        ORDER BY r.id
        ON CONFLICT DO NOTHING
        RETURNING id)
    SELECT coalesce(array_agg(id), '{}') INTO landed FROM claimed;

    PERFORM FROM reservation WHERE id = ANY (t_id) ORDER BY id FOR UPDATE;

    IF EXISTS (SELECT FROM operation WHERE request_id = ANY (t_request)) THEN
        RAISE EXCEPTION 'a request was answered before' USING ERRCODE = 'HF002';
    END IF;

    -- Limits are looked at under a lock of the policy, so that an owner's two carts at two locations see each other.
    SELECT EXISTS (SELECT FROM policy p WHERE p.sku = ANY (a_sku) AND (p.max_per_reservation IS NOT NULL OR p.max_per_owner IS NOT NULL))
    INTO is_limited;
    IF is_limited THEN
        PERFORM FROM policy p WHERE p.sku = ANY (a_sku) AND p.max_per_owner IS NOT NULL ORDER BY p.sku FOR NO KEY UPDATE;
    END IF;

    SELECT array_agg(ROW (c.place, c.cause, c.cause_id, c.actor, c.sku, c.location, c.held, c.committed)::stock_change)
    INTO changes
    FROM (SELECT r.place, 'RESERVE' AS cause, r.id AS cause_id, r.actor, a.sku, a.location, a.quantity AS held, 0::bigint AS committed
          FROM unnest(r_id, r_actor) WITH ORDINALITY AS r(id, actor, place)
          JOIN unnest(a_reservation, a_sku, a_location, a_quantity) AS a(reservation, sku, location, quantity)
            ON a.reservation = r.id
          WHERE r.id = ANY (landed)
          UNION ALL
          SELECT cardinality(r_id) + t.place, CASE t.state WHEN 'CONFIRMED' THEN 'CONFIRM' ELSE 'RELEASE' END, t.id, t.actor,
                 a.sku, a.location, -a.quantity, CASE t.state WHEN 'CONFIRMED' THEN a.quantity ELSE 0 END
          FROM unnest(t_id, t_state, t_actor) WITH ORDINALITY AS t(id, state, actor, place)
          JOIN allocation a ON a.reservation_id = t.id) c;

    PERFORM FROM stock s
    WHERE (s.sku, s.location) IN (SELECT c.sku, c.location FROM unnest(changes) c)
    ORDER BY s.sku, s.location FOR UPDATE;
    decided_at := clock_timestamp();

    IF (SELECT count(*) FROM reservation WHERE id = ANY (t_id) AND state = 'HELD' AND expires_at > decided_at)
       <> cardinality(t_id) THEN
        RAISE EXCEPTION 'a reservation is not a running hold' USING ERRCODE = 'HF002';
    END IF;

    IF is_limited THEN
        -- Whoever is beyond a limit is named, so that the others need not wait for the planned path.
        WITH taken AS (
            SELECT r.id, r.owner, a.sku, sum(a.quantity) AS units
            FROM unnest(r_id, r_owner) AS r(id, owner)
            JOIN unnest(a_reservation, a_sku, a_quantity) AS a(reservation, sku, quantity) ON a.reservation = r.id
            WHERE r.id = ANY (landed) GROUP BY r.id, r.owner, a.sku)
        SELECT array_agg(DISTINCT b.id) INTO over
        FROM (SELECT t.id FROM taken t JOIN policy p ON p.sku = t.sku WHERE t.units > p.max_per_reservation
              UNION ALL
              SELECT t.id
              FROM (SELECT id, owner, sku, sum(units) OVER (PARTITION BY owner, sku) AS units FROM taken) t
              JOIN policy p ON p.sku = t.sku AND p.max_per_owner IS NOT NULL
              LEFT JOIN owned_units(ARRAY(SELECT owner FROM taken ORDER BY id, sku), ARRAY(SELECT sku FROM taken ORDER BY id, sku), decided_at) o
                  ON o.owner = t.owner AND o.sku = t.sku
              WHERE t.units + coalesce(o.units, 0) > p.max_per_owner) b;
        IF over IS NOT NULL THEN
            RAISE EXCEPTION 'more units than a selling policy allows' USING ERRCODE = 'HF003', DETAIL = array_to_string(over, ',');
        END IF;
    END IF;

    -- Rows that give units: shortfall is not named, so that the CHECK would refuse an oversell even if this condition were wrong.
    WITH d AS (SELECT c.sku, c.location, sum(c.held) FILTER (WHERE c.held > 0)::bigint AS taken, sum(c.held)::bigint AS held,
                      sum(c.committed)::bigint AS committed, count(*) AS entries
               FROM unnest(changes) c GROUP BY c.sku, c.location)
    UPDATE stock s
    SET held = s.held + d.held, committed = s.committed + d.committed, version = s.version + d.entries
    FROM d
    WHERE s.sku = d.sku AND s.location = d.location AND d.taken IS NOT NULL
      AND available_of(s, 0) >= d.taken;
    GET DIAGNOSTICS changed = ROW_COUNT;

    -- Rows that only get units back or keep them for a buyer: shortfall follows.
    WITH d AS (SELECT c.sku, c.location, sum(c.held)::bigint AS held, sum(c.committed)::bigint AS committed, count(*) AS entries
               FROM unnest(changes) c GROUP BY c.sku, c.location HAVING max(c.held) <= 0)
    UPDATE stock s
    SET held = s.held + d.held, committed = s.committed + d.committed, version = s.version + d.entries,
        shortfall = greatest(0, s.held + d.held + s.committed + d.committed - s.on_hand - s.backorder)
    FROM d
    WHERE s.sku = d.sku AND s.location = d.location;
    GET DIAGNOSTICS updated = ROW_COUNT;

    SELECT count(DISTINCT (c.sku, c.location)) INTO touched FROM unnest(changes) c;
    IF changed + updated <> touched THEN
        RAISE EXCEPTION 'a row of stock is short or missing' USING ERRCODE = 'HF001';
    END IF;

    -- A hold's time counts from when its units were there for it: matters only after a long wait for a lock.
    IF decided_at - claimed_at > interval '50 milliseconds' THEN
        UPDATE reservation r
        SET created_at = decided_at, state_at = decided_at,
            first_expires_at = r.first_expires_at + (decided_at - claimed_at),
            expires_at = r.expires_at + (decided_at - claimed_at)
        WHERE r.id = ANY (landed);
        claimed_at := decided_at;
    END IF;

    INSERT INTO allocation (reservation_id, sku, location, quantity)
    SELECT a.reservation, a.sku, a.location, a.quantity
    FROM unnest(a_reservation, a_sku, a_location, a_quantity) AS a(reservation, sku, location, quantity)
    WHERE a.reservation = ANY (landed);

    UPDATE reservation r
    SET state = t.state, state_at = decided_at, version = r.version + 1
    FROM unnest(t_id, t_state) AS t(id, state)
    WHERE r.id = t.id;

    INSERT INTO ledger (sku, location, version, at, cause, cause_id, held, committed, actor)
    SELECT c.sku, c.location,
           s.version - count(*) OVER (PARTITION BY c.sku, c.location)
                     + row_number() OVER (PARTITION BY c.sku, c.location ORDER BY c.place),
           decided_at, c.cause, c.cause_id, c.held, c.committed, c.actor
    FROM unnest(changes) c JOIN stock s ON s.sku = c.sku AND s.location = c.location;

    INSERT INTO operation (request_id, payload_hash, answer, created_at)
    SELECT t.request, t.hash,
           jsonb_build_object('kind', 'RESERVATION', 'id', r.id, 'state', r.state, 'version', r.version,
                              'state_at', micros(r.state_at), 'expires_at', micros(r.expires_at)),
           decided_at
    FROM unnest(t_request, t_hash, t_id) AS t(request, hash, id) JOIN reservation r ON r.id = t.id
    ORDER BY t.request;

    RETURN jsonb_build_object(
        'claimed_at', micros(claimed_at), 'decided_at', micros(decided_at), 'landed', (SELECT coalesce(jsonb_agg(jsonb_build_array(r.id, micros(r.expires_at))), '[]') FROM reservation r WHERE r.id = ANY (landed)),
        'records', (SELECT coalesce(jsonb_agg(record_json(r)), '[]') FROM reservation r WHERE r.id = ANY (t_id)),
        'available', available_json(ARRAY(SELECT DISTINCT c.sku FROM unnest(changes) c)));
END
$$;
COMMENT ON FUNCTION commit_fast(uuid[], text[], bytea[], jsonb[], bigint[], text[], uuid[], text[], text[], bigint[], uuid[], bytea[], uuid[], text[], text[], bigint, bigint) IS 'Applies a batch of reserves that fit, confirms and releases of running holds, or raises HF001, HF002 or HF003 and applies nothing.';

-- The planned path, with selling policies and feeds: lock_batch and write_batch of 0003, and what they read and write besides.

-- claims: keys that the batch may create. touches: reservations that it changes. skus: what it takes from, at whatever location; their due holds are
-- found and locked too. row_*: further rows of stock. new_*: rows of stock that it may create. policy_sku: SKUs whose policy it changes. owner_*: whose
-- units of what are to be added up. counting: the connections that count. cover_*: those whose run says something of all their rows. due_max: how many due
-- holds to take along.
CREATE FUNCTION lock_batch(
    claims uuid[], touches uuid[], requests uuid[], skus text[],
    row_sku text[], row_location text[], new_sku text[], new_location text[], policy_sku text[], owner_name text[], owner_sku text[],
    counting text[], cover_connection text[], cover_as_of bigint[], cover_sequence bigint[], due_max integer
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
    governed   text[];
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

    -- Who makes a SKU's row of stock locks its policy, and who changes a policy locks it before the rows: so no row is made by an old policy. Rows that
    -- are to be made come before, for the other one cannot see them yet.
    WITH inserted AS (
        INSERT INTO policy (sku)
        SELECT n.sku FROM (SELECT c ->> 0 AS sku FROM jsonb_array_elements(created) c UNION SELECT unnest(policy_sku)) n ORDER BY n.sku
        ON CONFLICT DO NOTHING
        RETURNING sku)
    SELECT coalesce(array_agg(sku), '{}') INTO governed FROM inserted;
    governed := governed || policy_sku || ARRAY(SELECT DISTINCT c ->> 0 FROM jsonb_array_elements(created) c)
        || ARRAY(SELECT p.sku FROM policy p WHERE p.sku = ANY (skus) AND p.max_per_owner IS NOT NULL);
    PERFORM FROM policy WHERE sku = ANY (governed) ORDER BY sku FOR NO KEY UPDATE;

    -- A run that says something of all rows is marked with the first of its counts: from then on nothing older is taken for a row that it leaves unwritten.
    INSERT INTO mark AS m (connection, as_of, sequence)
    SELECT DISTINCT ON (c.connection) c.connection, from_micros(c.as_of), c.sequence
    FROM unnest(cover_connection, cover_as_of, cover_sequence) AS c(connection, as_of, sequence)
    WHERE NOT EXISTS (SELECT FROM mark k WHERE k.connection = c.connection AND (k.as_of, k.sequence) >= (from_micros(c.as_of), c.sequence))
    ORDER BY c.connection, c.as_of DESC, c.sequence DESC
    ON CONFLICT (connection) DO UPDATE SET as_of = excluded.as_of, sequence = excluded.sequence
    WHERE (m.as_of, m.sequence) < (excluded.as_of, excluded.sequence);

    -- One pass over everything, ascending, whatever the reason for locking it.
    SELECT coalesce(array_agg(ROW (k.sku, k.location)::stock_key), '{}') INTO rows
    FROM (SELECT s.sku, s.location FROM stock s WHERE s.sku = ANY (skus || policy_sku)
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
        'policies', (SELECT coalesce(jsonb_agg(policy_json(p)), '[]') FROM policy p WHERE p.sku = ANY (governed || skus) AND p.version > 0),
        'owned', (SELECT coalesce(jsonb_agg(jsonb_build_array(o.owner, o.sku, o.units)), '[]') FROM owned_units(owner_name, owner_sku, decided_at) o),
        -- The connections are collected first: joined, they would be looked up once for each mark.
        'marks', (SELECT coalesce(jsonb_agg(jsonb_build_array(m.connection, micros(m.as_of), m.sequence)), '[]')
                  FROM mark m
                  WHERE cardinality(counting) > 0
                    AND m.connection = ANY (counting || ARRAY(SELECT DISTINCT s.connection FROM unnest(rows) k JOIN stock s ON s.sku = k.sku AND s.location = k.location))),
        'levels', (SELECT coalesce(jsonb_agg(level_json(s)), '[]') FROM stock s
                   WHERE s.sku IN (SELECT k.sku FROM unnest(rows) k)));
END
$$;
COMMENT ON FUNCTION lock_batch(uuid[], uuid[], uuid[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bigint[], bigint[], integer) IS 'Claims, locks and reads what a batch is about; levels holds every location of the SKUs, locked or not.';


ALTER TYPE level_row
    ADD ATTRIBUTE buffer bigint, ADD ATTRIBUTE freshness text, ADD ATTRIBUTE cap_units bigint, ADD ATTRIBUTE cap_as_of bigint, ADD ATTRIBUTE cap_sequence bigint,
    ADD ATTRIBUTE archived boolean, ADD ATTRIBUTE rank smallint, ADD ATTRIBUTE connection text, ADD ATTRIBUTE shared boolean;
ALTER TYPE ledger_row ADD ATTRIBUTE freshness text, ADD ATTRIBUTE cap bigint, ADD ATTRIBUTE archived boolean;

CREATE FUNCTION write_plan(plan jsonb) RETURNS jsonb
    LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE stock s
    SET on_hand = p.on_hand, held = p.held, committed = p.committed, safety = p.safety, backorder = p.backorder,
        -- I2: only what a count, an adjustment or a policy did to a row may raise its shortfall; if anything else would, the CHECK refuses.
        shortfall = CASE WHEN p.may_raise_shortfall THEN p.shortfall ELSE least(s.shortfall, p.shortfall) END, damaged = p.damaged, quality_hold = p.quality_hold, refurbished = p.refurbished,
        count_as_of = from_micros(p.count_as_of), count_sequence = p.count_sequence, version = p.version,
        buffer = p.buffer, freshness = p.freshness, cap_units = p.cap_units, cap_as_of = from_micros(p.cap_as_of), cap_sequence = p.cap_sequence,
        archived = p.archived, rank = p.rank, connection = p.connection, shared = p.shared
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
                        unsellable, condition, reason, actor, note, freshness, cap, archived)
    SELECT p.sku, p.location, p.version, from_micros(p.at), p.cause, p.cause_id, p.on_hand, p.held, p.committed, p.safety,
           p.backorder, p.unsellable, p.condition, p.reason, p.actor, p.note, p.freshness, p.cap, p.archived
    FROM jsonb_populate_recordset(NULL::ledger_row, plan -> 'ledger') p;

    INSERT INTO operation (request_id, payload_hash, answer, created_at)
    SELECT (o ->> 0)::uuid, decode(o ->> 1, 'hex'), o -> 2, from_micros((plan ->> 'decided_at')::bigint)
    FROM jsonb_array_elements(plan -> 'operations') o
    ORDER BY 1;

    UPDATE policy t
    SET version = p.version, safety = p.safety, backorder = p.backorder, max_per_reservation = p.max_per_reservation,
        max_per_owner = p.max_per_owner, default_hold = p.default_hold, locations = p.locations, archived = p.archived
    FROM jsonb_populate_recordset(NULL::policy, plan -> 'policies') p
    WHERE t.sku = p.sku;

    RETURN available_json(ARRAY(SELECT DISTINCT p ->> 'sku' FROM jsonb_array_elements(plan -> 'levels') p));
END
$$;
COMMENT ON FUNCTION write_plan IS 'Writes a plan made on what lock_batch read, in the same transaction; returns what the gate is to be told.';
