-- The batch that needs no thinking, in one round trip and without a lock held across the network: fresh reserves that fit, confirms and releases of running holds.
-- Whatever deviates raises, so that nothing of the batch happens, and the committer decides it on the planned path:
--   HF001  a row is short or does not exist
--   HF002  a reservation is not a running hold, or a request was answered before
-- Order of locks, the same on every path: reservation keys (inserted, ids ascending), reservations (locked, ids ascending), stock (SKU then location
-- ascending), request keys (inserted). Each step is a statement of its own, for a statement sees what was committed before it began.

CREATE FUNCTION micros(instant timestamptz) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (extract(epoch FROM instant) * 1000000)::bigint;
COMMENT ON FUNCTION micros IS 'Microseconds since 1970-01-01 UTC.';

CREATE FUNCTION from_micros(instant bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN timestamptz '1970-01-01 00:00:00+00' + instant * interval '1 microsecond';
COMMENT ON FUNCTION from_micros IS 'The inverse of micros().';

CREATE FUNCTION record_json(r reservation) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'id', r.id, 'owner', r.owner, 'payload_hash', encode(r.payload_hash, 'hex'), 'state', r.state,
        'created_at', micros(r.created_at), 'first_expires_at', micros(r.first_expires_at),
        'expires_at', micros(r.expires_at), 'state_at', micros(r.state_at),
        'version', r.version, 'shortages', r.shortages,
        'lines', r.lines,
        'allocations', (SELECT coalesce(jsonb_agg(jsonb_build_array(a.sku, a.location, a.quantity) ORDER BY a.sku, a.location), '[]')
                        FROM allocation a WHERE a.reservation_id = r.id));
COMMENT ON FUNCTION record_json IS 'A reservation with its allocations, in the form that the service''s store reads.';

CREATE FUNCTION available_json(skus text[]) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_array(s.sku, s.location,
                       greatest(0, s.on_hand - s.held - s.committed - s.safety + s.backorder))
                   ORDER BY s.sku, s.location), '[]')
            FROM stock s WHERE s.sku = ANY (skus));
COMMENT ON FUNCTION available_json IS 'What the gate is told after a commit: every location of the SKUs, due holds still counted.';

CREATE TYPE stock_change AS (
    place     bigint,
    cause     text,
    cause_id  uuid,
    actor     text,
    sku       text COLLATE "C",
    location  text COLLATE "C",
    held      bigint,
    committed bigint
);
COMMENT ON TYPE stock_change IS 'What one reserve, confirm or release of a batch does to one row of stock; place orders the batch by arrival.';

CREATE FUNCTION commit_fast(
    r_id uuid[], r_owner text[], r_hash bytea[], r_lines jsonb[], r_hold bigint[], r_actor text[],
    a_reservation uuid[], a_sku text[], a_location text[], a_quantity bigint[],
    t_request uuid[], t_hash bytea[], t_id uuid[], t_state text[], t_actor text[]
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
BEGIN
    -- Keys first. A key that exists already stays as it is; the caller reads it afterwards.
    WITH claimed AS (
        INSERT INTO reservation (id, owner, payload_hash, lines, state, created_at, first_expires_at, expires_at, state_at, version)
        SELECT r.id, r.owner, r.hash, r.lines, 'HELD', claimed_at, claimed_at + r.hold * interval '1 microsecond',
               claimed_at + r.hold * interval '1 microsecond', claimed_at, 1
        FROM unnest(r_id, r_owner, r_hash, r_lines, r_hold) AS r(id, owner, hash, lines, hold)
        ORDER BY r.id
        ON CONFLICT DO NOTHING
        RETURNING id)
    SELECT coalesce(array_agg(id), '{}') INTO landed FROM claimed;

    PERFORM FROM reservation WHERE id = ANY (t_id) ORDER BY id FOR UPDATE;

    IF EXISTS (SELECT FROM operation WHERE request_id = ANY (t_request)) THEN
        RAISE EXCEPTION 'a request was answered before' USING ERRCODE = 'HF002';
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

    -- Rows that give units: shortfall is not named, so that the CHECK would refuse an oversell even if this condition were wrong.
    WITH d AS (SELECT c.sku, c.location, sum(c.held) FILTER (WHERE c.held > 0)::bigint AS taken, sum(c.held)::bigint AS held,
                      sum(c.committed)::bigint AS committed, count(*) AS entries
               FROM unnest(changes) c GROUP BY c.sku, c.location)
    UPDATE stock s
    SET held = s.held + d.held, committed = s.committed + d.committed, version = s.version + d.entries
    FROM d
    WHERE s.sku = d.sku AND s.location = d.location AND d.taken IS NOT NULL
      AND s.on_hand - s.held - s.committed - s.safety + s.backorder >= d.taken;
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
        'claimed_at', micros(claimed_at), 'decided_at', micros(decided_at), 'landed', to_jsonb(landed),
        'records', (SELECT coalesce(jsonb_agg(record_json(r)), '[]') FROM reservation r WHERE r.id = ANY (t_id)),
        'available', available_json(ARRAY(SELECT DISTINCT c.sku FROM unnest(changes) c)));
END
$$;
COMMENT ON FUNCTION commit_fast IS 'Applies a batch of reserves that fit, confirms and releases of running holds, or raises HF001 or HF002 and applies nothing.';
