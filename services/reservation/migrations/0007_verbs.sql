-- What a checkout does beyond holding and confirming: replace, confirm in part, reacquire, fulfil, cancel, return, evidence, best effort, pauses, limits of speed and
-- of channels, promised dates; and counts that reflect what was sold.
--
-- Replicas of the version before go on beside this one. They call the same functions, or ones of the same signature that hand over to the new ones, so that what they
-- do not know is kept right for them: channels' counters, what became of units, pauses of rows that they make, details of reservations. What they cannot do right is
-- refused (a hold on a paused SKU). What they do not know and does no harm: a limit of units a minute does not count their holds; their holds on the backorder limit
-- promise no date; their counts reflect nothing, so that units stay committed until a replica of this version takes the next count. A policy that they take leaves
-- what they do not know as it was: reservation is upgraded before catalog. What served the version before them goes.

DROP FUNCTION commit_fast(uuid[], text[], bytea[], jsonb[], bigint[], text[], uuid[], text[], text[], bigint[], uuid[], bytea[], uuid[], text[], text[]);
DROP FUNCTION lock_batch(uuid[], uuid[], uuid[], text[], text[], text[], text[], text[], integer);
DROP FUNCTION write_batch(jsonb);

-- ── What is kept ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

ALTER TABLE reservation
    ADD COLUMN channel     text COLLATE "C",
    ADD COLUMN order_ref   text COLLATE "C",
    ADD COLUMN labels      jsonb,
    ADD COLUMN unsplit     jsonb,
    ADD COLUMN predecessor uuid,
    ADD COLUMN successor   uuid,
    DROP CONSTRAINT reservation_refusal_has_shortages,
    ADD CONSTRAINT reservation_refusal_has_shortages CHECK (state <> 'REFUSED' OR shortages IS NOT NULL) NOT VALID,
    ADD CONSTRAINT reservation_succeeds_another CHECK (predecessor <> id AND successor <> id) NOT VALID;
CREATE INDEX reservation_by_order ON reservation (order_ref, id DESC) WHERE order_ref IS NOT NULL;
COMMENT ON INDEX reservation_by_order IS 'Serves whoever looks for an order by the caller''s own name.';
COMMENT ON COLUMN reservation.state IS 'HELD, CONFIRMED (some units are neither shipped nor cancelled), FULFILLED (none is, and some were shipped), CANCELLED (none was), RELEASED, EXPIRED or REFUSED (a fence without units).';
COMMENT ON COLUMN reservation.shortages IS 'Which lines were short, as they were answered: REFUSED ones, and those that took what there was.';
COMMENT ON COLUMN reservation.channel IS 'The channel that it came by; null for none.';
COMMENT ON COLUMN reservation.order_ref IS 'The caller''s own name for the order; null for none. Set once.';
COMMENT ON COLUMN reservation.labels IS 'What the caller keeps with it: an object of texts; null for nothing.';
COMMENT ON COLUMN reservation.unsplit IS 'The places in lines, from 0, of those that must come from one location; null where all may be split.';
COMMENT ON COLUMN reservation.predecessor IS 'The reservation whose place it took: a hold that was replaced, or one that had expired; null for none.';
COMMENT ON COLUMN reservation.successor IS 'The reservation that took its place; null for none. Set once.';

ALTER TABLE allocation
    ADD COLUMN backordered bigint NOT NULL DEFAULT 0,
    ADD COLUMN promised_at timestamptz,
    ADD CONSTRAINT allocation_backordered_within CHECK (backordered BETWEEN 0 AND quantity) NOT VALID,
    ADD CONSTRAINT allocation_promise_of_something CHECK (promised_at IS NULL OR backordered > 0) NOT VALID;
COMMENT ON COLUMN allocation.backordered IS 'Units of them that were not there when they were reserved: promised on the backorder limit.';
COMMENT ON COLUMN allocation.promised_at IS 'When those are promised to be there; null where there are none, or no date was promised.';

CREATE TABLE progress (
    reservation_id uuid   NOT NULL,
    sku            text   COLLATE "C" NOT NULL,
    location       text   COLLATE "C" NOT NULL,
    quantity       bigint NOT NULL,
    released       bigint NOT NULL DEFAULT 0,
    cancelled      bigint NOT NULL DEFAULT 0,
    cancelling     bigint NOT NULL DEFAULT 0,
    withdrawn      bigint NOT NULL DEFAULT 0,
    fulfilled      bigint NOT NULL DEFAULT 0,
    returned       bigint NOT NULL DEFAULT 0,
    reflected      bigint NOT NULL DEFAULT 0,
    evidence       jsonb  NOT NULL DEFAULT '[]',
    known_at       timestamptz,
    known_until    timestamptz,
    is_pending     boolean NOT NULL GENERATED ALWAYS AS (known_at IS NOT NULL AND released + withdrawn + reflected < quantity) STORED,
    CONSTRAINT progress_pk PRIMARY KEY (reservation_id, sku, location),
    CONSTRAINT progress_not_negative CHECK (least(released, cancelled, cancelling, withdrawn, fulfilled, returned, reflected) >= 0),
    CONSTRAINT progress_units_once CHECK (released + cancelled + fulfilled <= quantity),
    CONSTRAINT progress_cancelled_once CHECK (cancelling + withdrawn <= cancelled),
    CONSTRAINT progress_returns_were_shipped CHECK (returned <= fulfilled),
    -- Rule 15: committed is the rest.
    CONSTRAINT progress_committed_not_negative CHECK (released + withdrawn + reflected <= quantity),
    CONSTRAINT progress_evidence_dated CHECK ((evidence = '[]') = (known_at IS NULL) AND (known_at IS NULL) = (known_until IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX progress_pending ON progress (sku, location, reservation_id) WHERE is_pending;
CREATE INDEX progress_on_shelf ON progress (sku, location, reservation_id) WHERE reflected > 0 AND released + withdrawn + fulfilled < quantity;
CREATE INDEX progress_known_until ON progress (sku, location, known_until) WHERE reflected > 0;
CREATE INDEX progress_waiting ON progress (known_at) WHERE is_pending;
COMMENT ON INDEX progress_pending IS 'Serves counts: what they may reflect.';
COMMENT ON INDEX progress_on_shelf IS 'Serves ON_HAND counts that follow AVAILABLE ones: units reflected that did not leave the shelf are in the number again.';
COMMENT ON INDEX progress_known_until IS 'Serves the same: units that left the shelf since the count before.';
COMMENT ON INDEX progress_waiting IS 'Serves the alarm about units that no count reflects.';
COMMENT ON TABLE progress IS 'What became of an allocation''s units after they were held, where anything did. Guarded by the lock of its row of stock: a count changes it without locking the reservation.';
COMMENT ON COLUMN progress.reservation_id IS 'The reservation.';
COMMENT ON COLUMN progress.sku IS 'The SKU.';
COMMENT ON COLUMN progress.location IS 'The location.';
COMMENT ON COLUMN progress.quantity IS 'The allocation''s units.';
COMMENT ON COLUMN progress.released IS 'Units given back when only a part was confirmed.';
COMMENT ON COLUMN progress.cancelled IS 'Units called off after they were confirmed.';
COMMENT ON COLUMN progress.cancelling IS 'Of cancelled: the vendor was told of them and has not taken the cancellation, so they are still committed.';
COMMENT ON COLUMN progress.withdrawn IS 'Of cancelled: off, because the vendor never knew of them or took the cancellation.';
COMMENT ON COLUMN progress.fulfilled IS 'Units shipped.';
COMMENT ON COLUMN progress.returned IS 'Of fulfilled: came back.';
COMMENT ON COLUMN progress.reflected IS 'Units that the count reflects: not committed any more. Falls only where the vendor takes their cancellation, and where an ON_HAND count follows an AVAILABLE one.';
COMMENT ON COLUMN progress.evidence IS 'What the vendor did with the units: [kind, units, micros by its clock], in the order in which it became known.';
COMMENT ON COLUMN progress.known_at IS 'The earliest time in evidence; null where there is none.';
COMMENT ON COLUMN progress.known_until IS 'The latest time in evidence; null where there is none.';
COMMENT ON COLUMN progress.is_pending IS 'Units are still committed of which something is known at the vendor: a count may reflect them.';

ALTER TABLE stock
    ADD COLUMN paused  boolean NOT NULL DEFAULT false,
    ADD COLUMN meaning text,
    ADD CONSTRAINT stock_meaning_known CHECK (meaning IN ('ON_HAND', 'AVAILABLE')) NOT VALID;
COMMENT ON COLUMN stock.committed IS 'Confirmed units that were neither called off nor are reflected by the count.';
COMMENT ON COLUMN stock.paused IS 'The SKU''s selling is paused: nothing is offered.';
COMMENT ON COLUMN stock.meaning IS 'What the count last taken means: ON_HAND, everything on the shelf; AVAILABLE, without the orders that the vendor booked; null before the first, and for counts from before this was kept.';

ALTER TABLE policy
    ADD COLUMN max_per_minute bigint,
    ADD COLUMN channel_caps   jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN promise_at     timestamptz,
    ADD COLUMN promise_after  bigint,
    ADD CONSTRAINT policy_speed_positive CHECK (max_per_minute > 0) NOT VALID,
    ADD CONSTRAINT policy_caps_by_channel CHECK (jsonb_typeof(channel_caps) = 'object') NOT VALID,
    ADD CONSTRAINT policy_one_promise CHECK (num_nonnulls(promise_at, promise_after) <= 1 AND promise_after >= 0) NOT VALID;
COMMENT ON COLUMN policy.max_per_minute IS 'Most units reserved within any 60 seconds; whoever would exceed it pauses the SKU''s selling. Null: no limit.';
COMMENT ON COLUMN policy.channel_caps IS 'Most units that a channel may have, held or sold and not shipped, by channel; one that is not named has no cap.';
COMMENT ON COLUMN policy.promise_at IS 'When units promised beyond what is there will be there; null: see promise_after.';
COMMENT ON COLUMN policy.promise_after IS 'So many microseconds after they are reserved; null with promise_at null: no date is promised.';

CREATE TABLE selling (
    sku       text COLLATE "C" NOT NULL,
    paused_at timestamptz,
    paused_by text,
    note      text,
    recent    jsonb NOT NULL DEFAULT '[]',
    CONSTRAINT selling_pk PRIMARY KEY (sku),
    CONSTRAINT selling_pause_complete CHECK (num_nulls(paused_at, paused_by, note) IN (0, 3)),
    CONSTRAINT selling_recent_is_list CHECK (jsonb_typeof(recent) = 'array')
) WITH (fillfactor = 50);
CREATE INDEX selling_paused ON selling (sku) WHERE paused_at IS NOT NULL;
COMMENT ON INDEX selling_paused IS 'Serves the list of what is paused.';
COMMENT ON TABLE selling IS 'How SKUs sell: only those that were paused once, or whose policy limits the units a minute.';
COMMENT ON COLUMN selling.sku IS 'The SKU.';
COMMENT ON COLUMN selling.paused_at IS 'Since when nothing of it is offered, until somebody resumes it; null: it is sold.';
COMMENT ON COLUMN selling.paused_by IS 'Who paused it: a person, or holdfast.';
COMMENT ON COLUMN selling.note IS 'Why.';
COMMENT ON COLUMN selling.recent IS 'Units reserved lately: [second since 1970 by Postgres''s clock, units], ascending; only where a policy limits the units a minute.';

CREATE TABLE channel_use (
    sku     text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    units   bigint NOT NULL,
    CONSTRAINT channel_use_pk PRIMARY KEY (sku, channel),
    CONSTRAINT channel_use_not_negative CHECK (units >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE channel_use IS 'What channels have of SKUs whose policy caps them, or once did. Locked after the rows of stock; made under the locks of all of them.';
COMMENT ON COLUMN channel_use.sku IS 'The SKU.';
COMMENT ON COLUMN channel_use.channel IS 'The channel.';
COMMENT ON COLUMN channel_use.units IS 'Units held, or confirmed and neither cancelled nor shipped.';

ALTER TABLE feed
    ADD COLUMN clock_margin   bigint NOT NULL DEFAULT 0,
    ADD COLUMN reflection_lag bigint,
    ADD CONSTRAINT feed_margin_not_negative CHECK (clock_margin >= 0) NOT VALID,
    ADD CONSTRAINT feed_lag_positive CHECK (reflection_lag > 0) NOT VALID;
COMMENT ON COLUMN feed.clock_margin IS 'How far its clock may be from ours, in microseconds: added to our time where the vendor gave none.';
COMMENT ON COLUMN feed.reflection_lag IS 'So many microseconds after an order was sent it reflects it at the latest; null: never without evidence.';

ALTER TABLE ledger
    ADD COLUMN paused boolean,
    DROP CONSTRAINT ledger_cause_known,
    ADD CONSTRAINT ledger_cause_known CHECK
        (cause IN ('RESERVE', 'CONFIRM', 'RELEASE', 'EXPIRE', 'COUNT', 'ADJUST', 'POLICY', 'FRESHNESS', 'FULFIL', 'CANCEL', 'RETURN', 'EVIDENCE', 'PAUSE', 'RESUME')) NOT VALID;
COMMENT ON COLUMN ledger.cause_id IS 'The reservation, or the request of a count, an adjustment, a pause or its end; zeros where neither is the cause.';
COMMENT ON COLUMN ledger.paused IS 'What stock.paused became; null if it did not change.';

GRANT SELECT, INSERT, UPDATE ON progress, selling, channel_use TO holdfast_reservation;

-- ── The forms in which it travels ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE FUNCTION progress_json(p progress) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'sku', p.sku, 'location', p.location, 'released', p.released, 'cancelled', p.cancelled, 'cancelling', p.cancelling,
        'withdrawn', p.withdrawn, 'fulfilled', p.fulfilled, 'returned', p.returned, 'reflected', p.reflected, 'evidence', p.evidence);
COMMENT ON FUNCTION progress_json IS 'What became of an allocation''s units, in the form that the service''s store reads and writes.';

-- allocations keeps its form, which replicas of the version before read; what is new of them stands beside it, where there is any.
CREATE OR REPLACE FUNCTION record_json(r reservation) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'id', r.id, 'owner', r.owner, 'payload_hash', encode(r.payload_hash, 'hex'), 'state', r.state,
        'created_at', micros(r.created_at), 'first_expires_at', micros(r.first_expires_at),
        'expires_at', micros(r.expires_at), 'state_at', micros(r.state_at),
        'version', r.version, 'shortages', r.shortages,
        'lines', r.lines, 'unsplit', r.unsplit,
        'channel', r.channel, 'order_ref', r.order_ref, 'labels', r.labels, 'predecessor', r.predecessor, 'successor', r.successor)
        || (SELECT jsonb_build_object(
                'allocations', coalesce(jsonb_agg(jsonb_build_array(a.sku, a.location, a.quantity) ORDER BY a.sku, a.location), '[]'),
                'backordered', jsonb_agg(jsonb_build_array(a.sku, a.location, a.backordered, micros(a.promised_at)) ORDER BY a.sku, a.location)
                               FILTER (WHERE a.backordered > 0))
            FROM allocation a WHERE a.reservation_id = r.id)
        || jsonb_build_object('progress', (SELECT jsonb_agg(progress_json(p)) FROM progress p WHERE p.reservation_id = r.id));

CREATE FUNCTION records_json(ids uuid[]) RETURNS jsonb
    LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', r.id, 'owner', r.owner, 'payload_hash', encode(r.payload_hash, 'hex'), 'state', r.state,
            'created_at', micros(r.created_at), 'first_expires_at', micros(r.first_expires_at),
            'expires_at', micros(r.expires_at), 'state_at', micros(r.state_at),
            'version', r.version, 'shortages', r.shortages,
            'lines', r.lines, 'unsplit', r.unsplit,
            'channel', r.channel, 'order_ref', r.order_ref, 'labels', r.labels, 'predecessor', r.predecessor, 'successor', r.successor,
            'allocations', coalesce(a.taken, '[]'), 'backordered', a.backordered, 'progress', p.made)), '[]')
        FROM reservation r
        LEFT JOIN (SELECT a.reservation_id, jsonb_agg(jsonb_build_array(a.sku, a.location, a.quantity) ORDER BY a.sku, a.location) AS taken,
                          jsonb_agg(jsonb_build_array(a.sku, a.location, a.backordered, micros(a.promised_at))) FILTER (WHERE a.backordered > 0) AS backordered
                   FROM allocation a WHERE a.reservation_id = ANY (ids) GROUP BY a.reservation_id) a ON a.reservation_id = r.id
        LEFT JOIN (SELECT p.reservation_id, jsonb_agg(progress_json(p)) AS made
                   FROM progress p WHERE p.reservation_id = ANY (ids) GROUP BY p.reservation_id) p ON p.reservation_id = r.id
        WHERE r.id = ANY (ids));
END
$$;
COMMENT ON FUNCTION records_json IS 'Reservations as record_json gives each, all in one go and by a plan that is made once a session: to call it for each row costs more than the row.';

CREATE OR REPLACE FUNCTION level_json(s stock) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'sku', s.sku, 'location', s.location, 'on_hand', s.on_hand, 'held', s.held, 'committed', s.committed,
        'safety', s.safety, 'buffer', s.buffer, 'backorder', s.backorder, 'shortfall', s.shortfall,
        'damaged', s.damaged, 'quality_hold', s.quality_hold, 'refurbished', s.refurbished,
        'count_as_of', micros(s.count_as_of), 'count_sequence', s.count_sequence, 'version', s.version,
        'freshness', s.freshness, 'cap_units', s.cap_units, 'cap_as_of', micros(s.cap_as_of), 'cap_sequence', s.cap_sequence,
        'archived', s.archived, 'rank', s.rank, 'connection', s.connection, 'shared', s.shared, 'paused', s.paused, 'meaning', s.meaning);

CREATE OR REPLACE FUNCTION policy_json(p policy) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'sku', p.sku, 'version', p.version, 'safety', p.safety, 'backorder', p.backorder, 'max_per_reservation', p.max_per_reservation,
        'max_per_owner', p.max_per_owner, 'default_hold', p.default_hold, 'locations', to_jsonb(p.locations), 'archived', p.archived,
        'max_per_minute', p.max_per_minute, 'channel_caps', p.channel_caps, 'promise_at', micros(p.promise_at), 'promise_after', p.promise_after);

CREATE FUNCTION selling_json(g selling) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object('sku', g.sku, 'paused_at', micros(g.paused_at), 'paused_by', g.paused_by, 'note', g.note, 'recent', g.recent);
COMMENT ON FUNCTION selling_json IS 'How a SKU sells, in the form that the service''s store reads and writes.';

CREATE OR REPLACE FUNCTION available_of(s stock, freed bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN s.archived OR s.paused OR s.freshness = 'STALE' THEN 0
                ELSE greatest(0, least(s.on_hand, coalesce(s.cap_units, s.on_hand)) - s.held - s.committed - s.safety + s.backorder + freed) END;

ALTER TYPE level_row ADD ATTRIBUTE paused boolean, ADD ATTRIBUTE meaning text;
ALTER TYPE record_row
    ADD ATTRIBUTE unsplit jsonb, ADD ATTRIBUTE channel text, ADD ATTRIBUTE order_ref text, ADD ATTRIBUTE labels jsonb,
    ADD ATTRIBUTE predecessor uuid, ADD ATTRIBUTE successor uuid;
ALTER TYPE ledger_row ADD ATTRIBUTE paused boolean, ADD ATTRIBUTE trace text;

-- Units that owners hold and have bought of SKUs whose policy limits that; holds that are over count for nobody.
-- First which pairs are limited: an owner with a long history costs nothing where nothing limits him.
CREATE OR REPLACE FUNCTION owned_units(owners text[], skus text[], at timestamptz) RETURNS TABLE (owner text, sku text, units bigint)
    LANGUAGE sql STABLE ROWS 10
AS $$
    WITH w AS MATERIALIZED (
        SELECT DISTINCT u.owner, u.sku FROM unnest(owners, skus) AS u(owner, sku) JOIN policy p ON p.sku = u.sku AND p.max_per_owner IS NOT NULL)
    SELECT w.owner, w.sku, coalesce(sum(a.quantity - coalesce(p.released + p.cancelled, 0)), 0)::bigint
    FROM w
    JOIN reservation r ON r.owner = w.owner AND (r.state IN ('CONFIRMED', 'FULFILLED') OR (r.state = 'HELD' AND r.expires_at > at))
    JOIN allocation a ON a.reservation_id = r.id AND a.sku = w.sku
    LEFT JOIN progress p ON p.reservation_id = a.reservation_id AND p.sku = a.sku AND p.location = a.location
    GROUP BY w.owner, w.sku
$$;

-- What each of these channels has of each of these SKUs, added up: reads every reservation on the SKUs' rows, so only where there is no counter.
CREATE FUNCTION channel_units(skus text[], channels text[]) RETURNS TABLE (sku text, channel text, units bigint)
    LANGUAGE sql STABLE ROWS 10
AS $$
    SELECT w.sku, w.channel, coalesce(sum(a.quantity - coalesce(p.released + p.cancelled + p.fulfilled, 0)) FILTER (WHERE r.id IS NOT NULL), 0)::bigint
    FROM unnest(skus, channels) AS w(sku, channel)
    LEFT JOIN allocation a ON a.sku = w.sku COLLATE "C"
    LEFT JOIN reservation r ON r.id = a.reservation_id AND r.channel = w.channel COLLATE "C" AND r.state IN ('HELD', 'CONFIRMED')
    LEFT JOIN progress p ON p.reservation_id = a.reservation_id AND p.sku = a.sku AND p.location = a.location
    GROUP BY w.sku, w.channel
$$;
COMMENT ON FUNCTION channel_units IS 'What channels have of SKUs, by the record rather than by their counters: units held, or confirmed and neither cancelled nor shipped.';

CREATE FUNCTION recent_units(recent jsonb, at timestamptz) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN (SELECT coalesce(sum((b ->> 1)::bigint), 0)::bigint FROM jsonb_array_elements(recent) b
            WHERE (b ->> 0)::bigint >= floor(extract(epoch FROM at))::bigint - 60);
COMMENT ON FUNCTION recent_units IS 'Units in the seconds of which some part lies within the last 60 seconds.';

CREATE FUNCTION recent_with(recent jsonb, at timestamptz, units bigint) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_array(b.second, b.units) ORDER BY b.second), '[]')
            FROM (SELECT u.second, sum(u.units)::bigint AS units
                  FROM (SELECT (e ->> 0)::bigint AS second, (e ->> 1)::bigint AS units FROM jsonb_array_elements(recent) e
                        UNION ALL SELECT floor(extract(epoch FROM at))::bigint, units) u
                  WHERE u.second >= floor(extract(epoch FROM at))::bigint - 60
                  GROUP BY u.second) b);
COMMENT ON FUNCTION recent_with IS 'The seconds of the last 60, with units in the one of now.';

-- ── The batch that needs no thinking ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Fresh reserves that fit without the backorder limit, confirms and releases of running holds, each of all units. As in 0005, and r_details: what is kept with a
-- reservation, null for nothing; t_order: the caller's name for the order; *_trace: the requests' traces. Raises, so that nothing of the batch happens:
--   HF001  a row is short or does not exist
--   HF002  a reservation is not a running hold, or a request was answered before
--   HF003  reserves, named in the detail, that a selling policy may say something about: beyond a limit, sold too fast, or promised beyond what is there
-- Order of locks, the same on every path: reservation keys (inserted), reservations, rows of stock that are made, policies, marks, stock, channels' counters, selling,
-- request keys; each ascending.
CREATE FUNCTION commit_fast(
    r_id uuid[], r_owner text[], r_hash bytea[], r_lines jsonb[], r_hold bigint[], r_actor text[],
    a_reservation uuid[], a_sku text[], a_location text[], a_quantity bigint[],
    t_request uuid[], t_hash bytea[], t_id uuid[], t_state text[], t_actor text[],
    hold_default bigint, hold_longest bigint,
    r_details jsonb[], t_order text[], r_trace text[], t_trace text[]
) RETURNS jsonb
    LANGUAGE plpgsql
AS $$
DECLARE
    claimed_at    timestamptz := clock_timestamp();
    decided_at    timestamptz;
    landed        uuid[];
    changes       stock_change[];
    running       bigint;
    touched       bigint;
    changed       bigint;
    updated       bigint;
    is_limited    boolean;
    is_paced      boolean;
    is_promised   boolean;
    is_channelled boolean;
    over          uuid[] := '{}';
BEGIN
    -- Keys first. A key that exists already stays as it is; the caller reads it afterwards.
    WITH claimed AS (
        INSERT INTO reservation (id, owner, payload_hash, lines, state, created_at, first_expires_at, expires_at, state_at, version,
                                 channel, order_ref, labels, unsplit)
        SELECT r.id, r.owner, r.hash, r.lines, 'HELD', claimed_at, claimed_at + h.hold * interval '1 microsecond',
               claimed_at + h.hold * interval '1 microsecond', claimed_at, 1,
               r.details ->> 'channel', r.details ->> 'order_ref', r.details -> 'labels', r.details -> 'unsplit'
        FROM unnest(r_id, r_owner, r_hash, r_lines, r_hold, r_details) AS r(id, owner, hash, lines, hold, details)
        LEFT JOIN (SELECT a.reservation, min(p.default_hold) AS hold
                   FROM unnest(a_reservation, a_sku) AS a(reservation, sku)
                   JOIN policy p ON p.sku = a.sku AND p.default_hold IS NOT NULL
                   GROUP BY a.reservation) d ON d.reservation = r.id
        CROSS JOIN LATERAL (SELECT coalesce(r.hold, least(hold_longest, coalesce(d.hold, hold_default))) AS hold) h
        ORDER BY r.id
        ON CONFLICT DO NOTHING
        RETURNING id, channel IS NOT NULL AS has_channel)
    SELECT coalesce(array_agg(id), '{}'), coalesce(bool_or(has_channel), false) INTO landed, is_channelled FROM claimed;

    PERFORM FROM reservation WHERE id = ANY (t_id) ORDER BY id FOR UPDATE;

    IF EXISTS (SELECT FROM operation WHERE request_id = ANY (t_request)) THEN
        RAISE EXCEPTION 'a request was answered before' USING ERRCODE = 'HF002';
    END IF;

    -- Limits are looked at under a lock of the policy, so that an owner's two carts at two locations see each other.
    SELECT coalesce(bool_or(p.max_per_reservation IS NOT NULL OR p.max_per_owner IS NOT NULL), false), coalesce(bool_or(p.max_per_minute IS NOT NULL), false)
    INTO is_limited, is_paced
    FROM policy p WHERE p.sku = ANY (a_sku);
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

    SELECT coalesce(bool_or(l.backorder > 0), false) INTO is_promised
    FROM (SELECT s.backorder FROM stock s
          WHERE (s.sku, s.location) IN (SELECT c.sku, c.location FROM unnest(changes) c)
          ORDER BY s.sku, s.location FOR UPDATE) l;
    decided_at := clock_timestamp();

    SELECT count(*), is_channelled OR coalesce(bool_or(channel IS NOT NULL), false) INTO running, is_channelled
    FROM reservation WHERE id = ANY (t_id) AND state = 'HELD' AND expires_at > decided_at;
    IF running <> cardinality(t_id) THEN
        RAISE EXCEPTION 'a reservation is not a running hold' USING ERRCODE = 'HF002';
    END IF;

    -- Whoever may be beyond what a policy says is named, so that the others need not wait for the planned path.
    IF is_limited THEN
        WITH taken AS (
            SELECT r.id, r.owner, a.sku, sum(a.quantity) AS units
            FROM unnest(r_id, r_owner) AS r(id, owner)
            JOIN unnest(a_reservation, a_sku, a_quantity) AS a(reservation, sku, quantity) ON a.reservation = r.id
            WHERE r.id = ANY (landed) GROUP BY r.id, r.owner, a.sku)
        SELECT over || coalesce(array_agg(b.id), '{}') INTO over
        FROM (SELECT t.id FROM taken t JOIN policy p ON p.sku = t.sku WHERE t.units > p.max_per_reservation
              UNION ALL
              SELECT t.id
              FROM (SELECT id, owner, sku, sum(units) OVER (PARTITION BY owner, sku) AS units FROM taken) t
              JOIN policy p ON p.sku = t.sku AND p.max_per_owner IS NOT NULL
              LEFT JOIN owned_units(ARRAY(SELECT owner FROM taken ORDER BY id, sku), ARRAY(SELECT sku FROM taken ORDER BY id, sku), decided_at) o
                  ON o.owner = t.owner AND o.sku = t.sku
              WHERE t.units + coalesce(o.units, 0) > p.max_per_owner) b;
    END IF;

    IF is_promised THEN
        SELECT over || coalesce(array_agg(c.cause_id), '{}') INTO over
        FROM (SELECT c.cause_id, c.sku, c.location, c.held, sum(c.held) OVER (PARTITION BY c.sku, c.location) AS taken
              FROM unnest(changes) c WHERE c.held > 0) c
        JOIN stock s ON s.sku = c.sku AND s.location = c.location AND s.backorder > 0
        WHERE available_of(s, -s.backorder) < c.taken;
    END IF;

    -- A policy is changed under the locks of all its rows, so what a channel may have is known now.
    IF is_channelled THEN
        PERFORM FROM channel_use u
        WHERE (u.sku, u.channel) IN (SELECT c.sku, r.channel FROM unnest(changes) c JOIN reservation r ON r.id = c.cause_id
                                     WHERE c.committed = 0 AND r.channel IS NOT NULL)
        ORDER BY u.sku, u.channel FOR UPDATE;
        SELECT over || coalesce(array_agg(c.cause_id), '{}') INTO over
        FROM (SELECT c.cause_id, c.sku, r.channel, sum(c.held) OVER (PARTITION BY c.sku, r.channel) AS taken
              FROM unnest(changes) c JOIN reservation r ON r.id = c.cause_id WHERE c.held > 0 AND r.channel IS NOT NULL) c
        JOIN channel_use u ON u.sku = c.sku AND u.channel = c.channel
        JOIN policy p ON p.sku = c.sku
        WHERE u.units + c.taken > (p.channel_caps ->> c.channel)::bigint;
    END IF;

    IF is_paced THEN
        INSERT INTO selling (sku)
        SELECT p.sku FROM policy p WHERE p.sku = ANY (a_sku) AND p.max_per_minute IS NOT NULL ORDER BY p.sku
        ON CONFLICT DO NOTHING;
        PERFORM FROM selling g WHERE g.sku = ANY (a_sku) ORDER BY g.sku FOR UPDATE;
        SELECT over || coalesce(array_agg(c.cause_id), '{}') INTO over
        FROM (SELECT c.cause_id, c.sku, sum(c.held) OVER (PARTITION BY c.sku) AS taken FROM unnest(changes) c WHERE c.held > 0) c
        JOIN policy p ON p.sku = c.sku AND p.max_per_minute IS NOT NULL
        JOIN selling g ON g.sku = c.sku
        WHERE recent_units(g.recent, decided_at) + c.taken > p.max_per_minute;
    END IF;

    IF over <> '{}' THEN
        RAISE EXCEPTION 'a selling policy has a say' USING ERRCODE = 'HF003',
            DETAIL = (SELECT string_agg(DISTINCT o::text, ',') FROM unnest(over) o);
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

    IF is_channelled THEN
        UPDATE channel_use u SET units = u.units + d.units
        FROM (SELECT c.sku, r.channel, sum(c.held)::bigint AS units
              FROM unnest(changes) c JOIN reservation r ON r.id = c.cause_id
              WHERE c.committed = 0 AND r.channel IS NOT NULL GROUP BY c.sku, r.channel) d
        WHERE u.sku = d.sku AND u.channel = d.channel;
    END IF;
    IF is_paced THEN
        UPDATE selling g SET recent = recent_with(g.recent, decided_at, d.units)
        FROM (SELECT c.sku, sum(c.held)::bigint AS units FROM unnest(changes) c WHERE c.held > 0 GROUP BY c.sku) d
        JOIN policy p ON p.sku = d.sku AND p.max_per_minute IS NOT NULL
        WHERE g.sku = d.sku;
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
    SET state = t.state, state_at = decided_at, version = r.version + 1, order_ref = coalesce(r.order_ref, t.order_ref)
    FROM unnest(t_id, t_state, t_order) AS t(id, state, order_ref)
    WHERE r.id = t.id;

    -- place counts the reserves, then the transitions, as the traces do.
    INSERT INTO ledger (sku, location, version, at, cause, cause_id, held, committed, actor, trace)
    SELECT c.sku, c.location,
           s.version - count(*) OVER (PARTITION BY c.sku, c.location)
                     + row_number() OVER (PARTITION BY c.sku, c.location ORDER BY c.place),
           decided_at, c.cause, c.cause_id, c.held, c.committed, c.actor, (r_trace || t_trace)[c.place]
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
        'records', records_json(t_id),
        'available', available_json(ARRAY(SELECT DISTINCT c.sku FROM unnest(changes) c)));
END
$$;
COMMENT ON FUNCTION commit_fast(uuid[], text[], bytea[], jsonb[], bigint[], text[], uuid[], text[], text[], bigint[], uuid[], bytea[], uuid[], text[], text[], bigint, bigint, jsonb[], text[], text[], text[]) IS 'Applies a batch of reserves that fit, confirms and releases of running holds, or raises HF001, HF002 or HF003 and applies nothing.';

CREATE OR REPLACE FUNCTION commit_fast(
    r_id uuid[], r_owner text[], r_hash bytea[], r_lines jsonb[], r_hold bigint[], r_actor text[],
    a_reservation uuid[], a_sku text[], a_location text[], a_quantity bigint[],
    t_request uuid[], t_hash bytea[], t_id uuid[], t_state text[], t_actor text[],
    hold_default bigint, hold_longest bigint
) RETURNS jsonb
    LANGUAGE sql
AS $$
    SELECT commit_fast(r_id, r_owner, r_hash, r_lines, r_hold, r_actor, a_reservation, a_sku, a_location, a_quantity, t_request, t_hash, t_id, t_state, t_actor,
                       hold_default, hold_longest, '{}'::jsonb[], '{}'::text[], '{}'::text[], '{}'::text[])
$$;

-- ── The planned path ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- As in 0005, and: again, those of touches whose SKUs may be taken from anew; sell_sku, SKUs to pause or resume; count_*, rows whose number is set, and whether it is
-- everything on the shelf; cap_*, channels that a policy caps; channel_*, channels that carts come by; has_sales, whether what feeds say of sales matters; pending_max,
-- how many allocations of counted rows are looked at.
CREATE FUNCTION lock_batch(
    claims uuid[], touches uuid[], again uuid[], requests uuid[], skus text[],
    row_sku text[], row_location text[], new_sku text[], new_location text[], policy_sku text[], sell_sku text[], owner_name text[], owner_sku text[],
    counting text[], cover_connection text[], cover_as_of bigint[], cover_sequence bigint[], count_sku text[], count_location text[],
    count_shelf boolean[], cap_sku text[], cap_channel text[], channel_sku text[], channel_name text[], has_sales boolean, due_max integer, pending_max integer
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

    -- Whoever may be reserved anew: its owner's limits and its SKUs, as if it were a cart.
    IF again <> '{}' THEN
        SELECT skus || array_agg(DISTINCT a.sku) INTO skus FROM allocation a WHERE a.reservation_id = ANY (again);
        SELECT owner_name || array_agg(o.owner), owner_sku || array_agg(o.sku) INTO owner_name, owner_sku
        FROM (SELECT DISTINCT r.owner, a.sku FROM reservation r JOIN allocation a ON a.reservation_id = r.id WHERE r.id = ANY (again)) o;
    END IF;

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

    -- Who makes a SKU's row of stock locks its policy, and who changes a policy or pauses selling locks it before the rows: so no row is made by an old policy, and
    -- none is sold while its SKU is paused. Rows that are to be made come before, for the other one cannot see them yet.
    WITH inserted AS (
        INSERT INTO policy (sku)
        SELECT n.sku
        FROM (SELECT c ->> 0 AS sku FROM jsonb_array_elements(created) c
              UNION SELECT unnest(policy_sku)
              UNION SELECT s.sku FROM stock s WHERE s.sku = ANY (sell_sku)) n
        ORDER BY n.sku
        ON CONFLICT DO NOTHING
        RETURNING sku)
    SELECT coalesce(array_agg(sku), '{}') INTO governed FROM inserted;
    governed := governed || policy_sku || sell_sku || ARRAY(SELECT DISTINCT c ->> 0 FROM jsonb_array_elements(created) c)
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
    FROM (SELECT s.sku, s.location FROM stock s WHERE s.sku = ANY (skus || policy_sku || sell_sku)
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

    -- What a policy caps is counted from then on: all rows of the SKU are locked, so nobody moves what is added up here.
    IF cap_sku <> '{}' THEN
        INSERT INTO channel_use (sku, channel, units)
        SELECT u.sku, u.channel, u.units
        FROM channel_units(
            ARRAY(SELECT c.sku FROM unnest(cap_sku, cap_channel) AS c(sku, channel)
                  WHERE NOT EXISTS (SELECT FROM channel_use k WHERE k.sku = c.sku AND k.channel = c.channel) ORDER BY c.sku, c.channel),
            ARRAY(SELECT c.channel FROM unnest(cap_sku, cap_channel) AS c(sku, channel)
                  WHERE NOT EXISTS (SELECT FROM channel_use k WHERE k.sku = c.sku AND k.channel = c.channel) ORDER BY c.sku, c.channel)) u
        ORDER BY u.sku, u.channel
        ON CONFLICT DO NOTHING;
    END IF;
    SELECT channel_sku || coalesce(array_agg(c.sku), '{}'), channel_name || coalesce(array_agg(c.channel), '{}') INTO channel_sku, channel_name
    FROM (SELECT a.sku, r.channel FROM reservation r JOIN allocation a ON a.reservation_id = r.id
          WHERE r.id = ANY (claims || touches || locked_due) AND r.channel IS NOT NULL
          UNION SELECT * FROM unnest(cap_sku, cap_channel)) c;
    PERFORM FROM channel_use u JOIN (SELECT DISTINCT sku, channel FROM unnest(channel_sku, channel_name) AS c(sku, channel)) c
        ON c.sku = u.sku AND c.channel = u.channel
    ORDER BY u.sku, u.channel FOR UPDATE OF u;
    PERFORM FROM selling g WHERE g.sku = ANY (skus || governed) ORDER BY g.sku FOR UPDATE;

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
        'records', records_json(ARRAY(SELECT i FROM unnest(claims || touches || locked_due) i WHERE i <> ALL (claimed))),
        'operations', (SELECT coalesce(jsonb_agg(jsonb_build_array(o.request_id, encode(o.payload_hash, 'hex'), o.answer)), '[]')
                       FROM operation o WHERE o.request_id = ANY (requests)),
        'policies', (SELECT coalesce(jsonb_agg(policy_json(p)), '[]') FROM policy p WHERE p.sku = ANY (governed || skus) AND p.version > 0),
        'owned', (SELECT coalesce(jsonb_agg(jsonb_build_array(o.owner, o.sku, o.units)), '[]') FROM owned_units(owner_name, owner_sku, decided_at) o),
        -- The connections are collected first: joined, they would be looked up once for each mark.
        'marks', (SELECT coalesce(jsonb_agg(jsonb_build_array(m.connection, micros(m.as_of), m.sequence)), '[]')
                  FROM mark m
                  WHERE cardinality(counting) > 0
                    AND m.connection = ANY (counting || ARRAY(SELECT DISTINCT s.connection FROM unnest(rows) k JOIN stock s ON s.sku = k.sku AND s.location = k.location))),
        'feeds', (SELECT coalesce(jsonb_agg(jsonb_build_array(f.connection, f.clock_margin, f.reflection_lag)), '[]')
                  FROM feed f
                  WHERE (cardinality(counting) > 0 OR has_sales)
                    AND f.connection = ANY (counting || ARRAY(SELECT DISTINCT s.connection FROM unnest(rows) k JOIN stock s ON s.sku = k.sku AND s.location = k.location))),
        'pending', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'quantity', f.quantity, 'progress', f.progress)), '[]')
                    FROM (SELECT p.reservation_id AS id, p.quantity, progress_json(p) AS progress
                          FROM unnest(count_sku, count_location) AS k(sku, location)
                          JOIN progress p ON p.sku = k.sku AND p.location = k.location AND p.is_pending
                          UNION ALL
                          -- Units that a number reflected without having left the shelf: one of everything there has them again.
                          SELECT p.reservation_id, p.quantity, progress_json(p)
                          FROM unnest(count_sku, count_location, count_shelf) AS k(sku, location, is_shelf)
                          JOIN stock s ON s.sku = k.sku AND s.location = k.location AND s.meaning = 'AVAILABLE'
                          JOIN progress p ON p.sku = k.sku AND p.location = k.location
                                         AND p.reflected > 0 AND p.released + p.withdrawn + p.fulfilled < p.quantity
                          WHERE k.is_shelf AND NOT p.is_pending
                          UNION ALL
                          -- Or that may have left it since: those that had before are in neither number.
                          SELECT p.reservation_id, p.quantity, progress_json(p)
                          FROM unnest(count_sku, count_location, count_shelf) AS k(sku, location, is_shelf)
                          JOIN stock s ON s.sku = k.sku AND s.location = k.location AND s.meaning = 'AVAILABLE'
                          JOIN progress p ON p.sku = k.sku AND p.location = k.location AND p.reflected > 0 AND p.known_until > s.count_as_of
                          WHERE k.is_shelf AND NOT p.is_pending AND p.released + p.withdrawn + p.fulfilled >= p.quantity
                          ORDER BY 1 LIMIT pending_max) f),
        'channels', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(u.sku, u.channel, u.units)), '[]')
                     FROM unnest(channel_sku, channel_name) AS c(sku, channel) JOIN channel_use u ON u.sku = c.sku AND u.channel = c.channel),
        'selling', (SELECT coalesce(jsonb_agg(selling_json(g)), '[]') FROM selling g WHERE g.sku = ANY (skus || governed)),
        'levels', (SELECT coalesce(jsonb_agg(level_json(s)), '[]') FROM stock s
                   WHERE s.sku IN (SELECT k.sku FROM unnest(rows) k)));
END
$$;
COMMENT ON FUNCTION lock_batch(uuid[], uuid[], uuid[], uuid[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bigint[], bigint[], text[], text[], boolean[], text[], text[], text[], text[], boolean, integer, integer) IS 'Claims, locks and reads what a batch is about; levels holds every location of the SKUs, locked or not.';

CREATE OR REPLACE FUNCTION lock_batch(
    claims uuid[], touches uuid[], requests uuid[], skus text[],
    row_sku text[], row_location text[], new_sku text[], new_location text[], policy_sku text[], owner_name text[], owner_sku text[],
    counting text[], cover_connection text[], cover_as_of bigint[], cover_sequence bigint[], due_max integer
) RETURNS jsonb
    LANGUAGE sql
AS $$
    SELECT lock_batch(claims, touches, '{}'::uuid[], requests, skus, row_sku, row_location, new_sku, new_location, policy_sku, '{}'::text[], owner_name, owner_sku,
                      counting, cover_connection, cover_as_of, cover_sequence, '{}'::text[], '{}'::text[], '{}'::boolean[], '{}'::text[], '{}'::text[], '{}'::text[],
                      '{}'::text[], false, due_max, 0)
$$;

-- What a plan of the version before does not say: it moves the channels' counters that its ended holds belong to, pauses the rows that it makes of paused SKUs, and may
-- hold nothing of what is paused.
CREATE FUNCTION complete_plan(plan jsonb) RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (SELECT FROM jsonb_populate_recordset(NULL::ledger_row, plan -> 'ledger') p
               JOIN stock s ON s.sku = p.sku AND s.location = p.location AND s.paused WHERE p.cause = 'RESERVE') THEN
        RAISE EXCEPTION 'selling is paused, which this replica does not know' USING ERRCODE = '40001';
    END IF;
    UPDATE channel_use u SET units = u.units - d.units
    FROM (SELECT a.sku, r.channel, sum(a.quantity)::bigint AS units
          FROM jsonb_populate_recordset(NULL::record_row, plan -> 'records') p
          JOIN reservation r ON r.id = p.id AND r.state = 'HELD' AND r.channel IS NOT NULL
          JOIN allocation a ON a.reservation_id = r.id
          WHERE p.state IN ('RELEASED', 'EXPIRED') GROUP BY a.sku, r.channel) d
    WHERE u.sku = d.sku AND u.channel = d.channel;
    UPDATE stock s SET paused = true
    FROM jsonb_array_elements(plan -> 'created') c JOIN selling g ON g.sku = c ->> 0 AND g.paused_at IS NOT NULL
    WHERE s.sku = c ->> 0 AND s.location = c ->> 1;
END
$$;
COMMENT ON FUNCTION complete_plan IS 'Does what a plan of the version before leaves out; before the plan is written.';

CREATE OR REPLACE FUNCTION write_plan(plan jsonb) RETURNS jsonb
    LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT plan ? 'progress' THEN
        PERFORM complete_plan(plan);
    END IF;

    UPDATE stock s
    SET on_hand = p.on_hand, held = p.held, committed = p.committed, safety = p.safety, backorder = p.backorder,
        -- I2: only what a count, an adjustment, a policy or units off the shelf did to a row may raise its shortfall; if anything else would, the CHECK refuses.
        shortfall = CASE WHEN p.may_raise_shortfall THEN p.shortfall ELSE least(s.shortfall, p.shortfall) END, damaged = p.damaged, quality_hold = p.quality_hold, refurbished = p.refurbished,
        count_as_of = from_micros(p.count_as_of), count_sequence = p.count_sequence, version = p.version,
        buffer = p.buffer, freshness = p.freshness, cap_units = p.cap_units, cap_as_of = from_micros(p.cap_as_of), cap_sequence = p.cap_sequence,
        archived = p.archived, rank = p.rank, connection = p.connection, shared = p.shared,
        paused = coalesce(p.paused, s.paused), meaning = coalesce(p.meaning, s.meaning)
    FROM jsonb_populate_recordset(NULL::level_row, plan -> 'levels') p
    WHERE s.sku = p.sku AND s.location = p.location;

    DELETE FROM stock s
    USING jsonb_array_elements(plan -> 'created') c
    WHERE s.sku = c ->> 0 AND s.location = c ->> 1 AND s.version = 0 AND s.count_as_of IS NULL;

    DELETE FROM reservation WHERE id IN (SELECT d::uuid FROM jsonb_array_elements_text(plan -> 'unused') d);

    -- What is kept with a reservation is set once.
    UPDATE reservation r
    SET owner = p.owner, payload_hash = decode(p.payload_hash, 'hex'), lines = p.lines, state = p.state, created_at = from_micros(p.created_at),
        first_expires_at = from_micros(p.first_expires_at), expires_at = from_micros(p.expires_at),
        state_at = from_micros(p.state_at), version = p.version, shortages = coalesce(r.shortages, p.shortages),
        unsplit = coalesce(r.unsplit, p.unsplit), channel = coalesce(r.channel, p.channel), order_ref = coalesce(r.order_ref, p.order_ref),
        labels = coalesce(r.labels, p.labels), predecessor = coalesce(r.predecessor, p.predecessor), successor = coalesce(r.successor, p.successor)
    FROM jsonb_populate_recordset(NULL::record_row, plan -> 'records') p
    WHERE r.id = p.id;

    INSERT INTO allocation (reservation_id, sku, location, quantity, backordered, promised_at)
    SELECT (a ->> 0)::uuid, a ->> 1, a ->> 2, (a ->> 3)::bigint, coalesce((a ->> 4)::bigint, 0), from_micros((a ->> 5)::bigint)
    FROM jsonb_array_elements(plan -> 'allocations') a;

    INSERT INTO progress AS t (reservation_id, sku, location, quantity, released, cancelled, cancelling, withdrawn, fulfilled, returned, reflected, evidence, known_at, known_until)
    SELECT p.reservation_id, p.sku, p.location, a.quantity, p.released, p.cancelled, p.cancelling, p.withdrawn, p.fulfilled, p.returned, p.reflected, p.evidence,
           from_micros((SELECT min((e ->> 2)::bigint) FROM jsonb_array_elements(p.evidence) e)),
           from_micros((SELECT max((e ->> 2)::bigint) FROM jsonb_array_elements(p.evidence) e))
    FROM jsonb_to_recordset(plan -> 'progress') AS p(
        reservation_id uuid, sku text, location text, released bigint, cancelled bigint, cancelling bigint, withdrawn bigint, fulfilled bigint, returned bigint,
        reflected bigint, evidence jsonb)
    JOIN allocation a ON a.reservation_id = p.reservation_id AND a.sku = p.sku AND a.location = p.location
    ON CONFLICT (reservation_id, sku, location) DO UPDATE
    SET released = excluded.released, cancelled = excluded.cancelled, cancelling = excluded.cancelling, withdrawn = excluded.withdrawn,
        fulfilled = excluded.fulfilled, returned = excluded.returned, reflected = excluded.reflected,
        evidence = excluded.evidence, known_at = excluded.known_at, known_until = excluded.known_until;

    INSERT INTO channel_use AS t (sku, channel, units)
    SELECT c ->> 0, c ->> 1, (c ->> 2)::bigint FROM jsonb_array_elements(plan -> 'channels') c ORDER BY 1, 2
    ON CONFLICT (sku, channel) DO UPDATE SET units = excluded.units;

    INSERT INTO selling AS t (sku, paused_at, paused_by, note, recent)
    SELECT p.sku, from_micros(p.paused_at), p.paused_by, p.note, p.recent
    FROM jsonb_to_recordset(plan -> 'selling') AS p(sku text, paused_at bigint, paused_by text, note text, recent jsonb)
    ORDER BY p.sku
    ON CONFLICT (sku) DO UPDATE SET paused_at = excluded.paused_at, paused_by = excluded.paused_by, note = excluded.note, recent = excluded.recent;

    INSERT INTO ledger (sku, location, version, at, cause, cause_id, on_hand, held, committed, safety, backorder,
                        unsellable, condition, reason, actor, note, freshness, cap, archived, paused, trace)
    SELECT p.sku, p.location, p.version, from_micros(p.at), p.cause, p.cause_id, p.on_hand, p.held, p.committed, p.safety,
           p.backorder, p.unsellable, p.condition, p.reason, p.actor, p.note, p.freshness, p.cap, p.archived, p.paused, p.trace
    FROM jsonb_populate_recordset(NULL::ledger_row, plan -> 'ledger') p;

    INSERT INTO operation (request_id, payload_hash, answer, created_at)
    SELECT (o ->> 0)::uuid, decode(o ->> 1, 'hex'), o -> 2, from_micros((plan ->> 'decided_at')::bigint)
    FROM jsonb_array_elements(plan -> 'operations') o
    ORDER BY 1;

    -- A plan of the version before says nothing of the last four: they stay.
    UPDATE policy t
    SET version = p.version, safety = p.safety, backorder = p.backorder, max_per_reservation = p.max_per_reservation,
        max_per_owner = p.max_per_owner, default_hold = p.default_hold, locations = p.locations, archived = p.archived,
        max_per_minute = CASE WHEN p.channel_caps IS NULL THEN t.max_per_minute ELSE p.max_per_minute END,
        promise_at = CASE WHEN p.channel_caps IS NULL THEN t.promise_at ELSE from_micros(p.promise_at) END,
        promise_after = CASE WHEN p.channel_caps IS NULL THEN t.promise_after ELSE p.promise_after END,
        channel_caps = coalesce(p.channel_caps, t.channel_caps)
    FROM jsonb_to_recordset(plan -> 'policies') AS p(
        sku text, version bigint, safety bigint, backorder bigint, max_per_reservation bigint, max_per_owner bigint, default_hold bigint, locations text[],
        archived boolean, max_per_minute bigint, channel_caps jsonb, promise_at bigint, promise_after bigint)
    WHERE t.sku = p.sku;

    RETURN available_json(ARRAY(SELECT DISTINCT p ->> 'sku' FROM jsonb_array_elements(plan -> 'levels') p));
END
$$;

-- ── Who may go without ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE OR REPLACE VIEW live_allocation (reservation_id, sku, location, units, state, owner, created_at) AS
    SELECT a.reservation_id, a.sku, a.location,
           least(a.quantity - coalesce(p.released + p.withdrawn + p.reflected, 0), a.quantity - coalesce(p.released + p.cancelled + p.fulfilled, 0)),
           r.state, r.owner, r.created_at
    FROM allocation a
    JOIN reservation r ON r.id = a.reservation_id
    LEFT JOIN progress p ON p.reservation_id = a.reservation_id AND p.sku = a.sku AND p.location = a.location
    WHERE r.state = 'CONFIRMED' OR (r.state = 'HELD' AND r.expires_at > statement_timestamp());
COMMENT ON VIEW live_allocation IS 'Units of reservations that count on a row of stock and that their owner still waits for: neither shipped, called off nor reflected by the count. Holds whose time was over when the statement began have none.';
