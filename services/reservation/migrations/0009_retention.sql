-- How long the record is kept. What grows without end and is never changed, `operation` and `ledger`, is partitioned by time: old partitions are dropped. Reservations
-- and their allocations are looked up by arrays of keys on the hot path, which does not prune (a batch took nearly twice as long over eight partitions, and within
-- the noise over partitioned ledger and operation): they stay whole, and finished ones are purged in small steps.
-- The existing tables become the first partitions, unwritten: each is read once while it is attached. The running role gets no right on a table for this; it calls
-- functions of the owner, which drop nothing that is younger than a week whatever they are told.

CREATE FUNCTION uuid_floor(instant timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (lpad(to_hex(micros(instant) / 1000), 12, '0') || '00000000000000000000')::uuid;
COMMENT ON FUNCTION uuid_floor IS 'The lowest UUIDv7 of an instant from 1970 on, and lower than any of it.';

CREATE TABLE retention (
    subject   text NOT NULL,
    width     interval,
    kept_from timestamptz,
    next_id   uuid,
    CONSTRAINT retention_pk PRIMARY KEY (subject),
    CONSTRAINT retention_subject_known CHECK (subject IN ('ledger', 'operation', 'reservation')),
    CONSTRAINT retention_width_positive CHECK (width > interval '0')
);
COMMENT ON TABLE retention IS 'What of the record is kept.';
COMMENT ON COLUMN retention.subject IS 'The table; reservation stands for allocation too.';
COMMENT ON COLUMN retention.width IS 'How much time a new partition spans; null where there are none.';
COMMENT ON COLUMN retention.kept_from IS 'What is older may be gone; null: nothing is. Reservations that still count are kept whatever their age.';
COMMENT ON COLUMN retention.next_id IS 'Reservations: where the purge goes on; null: at the oldest.';
INSERT INTO retention (subject, width) VALUES ('ledger', '28 days'), ('operation', '7 days'), ('reservation', NULL);

CREATE TABLE time_partition (
    name    text NOT NULL,
    subject text NOT NULL,
    from_at timestamptz,
    to_at   timestamptz NOT NULL,
    CONSTRAINT time_partition_pk PRIMARY KEY (name),
    CONSTRAINT time_partition_from_before_to CHECK (from_at < to_at)
);
COMMENT ON TABLE time_partition IS 'The partitions of ledger and operation, but for their default ones, which take what no other takes.';
COMMENT ON COLUMN time_partition.name IS 'The table.';
COMMENT ON COLUMN time_partition.subject IS 'What it is a partition of.';
COMMENT ON COLUMN time_partition.from_at IS 'From when on its rows are; null: from the beginning.';
COMMENT ON COLUMN time_partition.to_at IS 'Until when; not included.';

CREATE TABLE janitor (
    one    boolean NOT NULL DEFAULT true,
    holder uuid,
    until  timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT janitor_pk PRIMARY KEY (one),
    CONSTRAINT janitor_one CHECK (one)
);
COMMENT ON TABLE janitor IS 'Which replica looks after retention.';
COMMENT ON COLUMN janitor.one IS 'True: there is one row.';
COMMENT ON COLUMN janitor.holder IS 'The replica; null: none ever did.';
COMMENT ON COLUMN janitor.until IS 'Until when; then any other may.';
INSERT INTO janitor DEFAULT VALUES;

ALTER TABLE record_incarnation
    ADD COLUMN since     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN backup_at timestamptz;
COMMENT ON COLUMN record_incarnation.since IS 'When this life began.';
COMMENT ON COLUMN record_incarnation.backup_at IS 'Until when the backup had everything from which it was restored: what came between this and since is lost. Null: it was not restored.';

CREATE TABLE ledger_opening (
    sku          text   COLLATE "C" NOT NULL,
    location     text   COLLATE "C" NOT NULL,
    entries      bigint NOT NULL,
    version      bigint NOT NULL,
    at           timestamptz NOT NULL,
    on_hand      bigint NOT NULL,
    held         bigint NOT NULL,
    committed    bigint NOT NULL,
    safety       bigint NOT NULL,
    backorder    bigint NOT NULL,
    damaged      bigint NOT NULL,
    quality_hold bigint NOT NULL,
    refurbished  bigint NOT NULL,
    freshness    text,
    cap          bigint,
    archived     boolean,
    paused       boolean,
    CONSTRAINT ledger_opening_pk PRIMARY KEY (sku, location),
    CONSTRAINT ledger_opening_counts_entries CHECK (entries >= 1 AND version >= 1)
);
COMMENT ON TABLE ledger_opening IS 'What a row of stock had when the oldest entry that is kept of its ledger came: the sum of those that are not. A row of stock is its opening and its ledger.';
COMMENT ON COLUMN ledger_opening.sku IS 'The SKU.';
COMMENT ON COLUMN ledger_opening.location IS 'The location.';
COMMENT ON COLUMN ledger_opening.entries IS 'How many entries it sums up.';
COMMENT ON COLUMN ledger_opening.version IS 'The newest of them.';
COMMENT ON COLUMN ledger_opening.at IS 'When that was.';
COMMENT ON COLUMN ledger_opening.on_hand IS 'stock.on_hand after it.';
COMMENT ON COLUMN ledger_opening.held IS 'stock.held after it.';
COMMENT ON COLUMN ledger_opening.committed IS 'stock.committed after it.';
COMMENT ON COLUMN ledger_opening.safety IS 'stock.safety after it.';
COMMENT ON COLUMN ledger_opening.backorder IS 'stock.backorder after it.';
COMMENT ON COLUMN ledger_opening.damaged IS 'stock.damaged after it.';
COMMENT ON COLUMN ledger_opening.quality_hold IS 'stock.quality_hold after it.';
COMMENT ON COLUMN ledger_opening.refurbished IS 'stock.refurbished after it.';
COMMENT ON COLUMN ledger_opening.freshness IS 'stock.freshness after it; null if it never changed.';
COMMENT ON COLUMN ledger_opening.cap IS 'stock.cap_units after it, -1 if it was lifted; null if there never was one.';
COMMENT ON COLUMN ledger_opening.archived IS 'stock.archived after it; null if it never changed.';
COMMENT ON COLUMN ledger_opening.paused IS 'stock.paused after it; null if it never changed.';

-- A partition is like its parent, and each of ledger has its own key (sku, location, version): a key of the parent would have to hold `at`. Versions stay without
-- gaps and doubles across partitions because whoever writes an entry takes its version from the row of stock that it has locked.
CREATE FUNCTION make_partition(of_subject text, from_at timestamptz, to_at timestamptz) RETURNS text
    LANGUAGE plpgsql
AS $$
DECLARE
    made text := format('%s_p%s', of_subject, to_char(from_at AT TIME ZONE 'UTC', 'YYYYMMDD'));
BEGIN
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES, CONSTRAINT %I PRIMARY KEY (%s))', made, of_subject, made || '_pk',
                   CASE of_subject WHEN 'ledger' THEN 'sku, location, version' ELSE 'request_id' END);
    EXECUTE format('COMMENT ON TABLE %I IS %L', made, format('Rows of %s from %s to %s.', of_subject, from_at AT TIME ZONE 'UTC', to_at AT TIME ZONE 'UTC'));
    IF of_subject = 'ledger' THEN
        EXECUTE format('ALTER TABLE ledger ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', made, from_at, to_at);
    ELSE
        EXECUTE format('ALTER TABLE operation ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', made, uuid_floor(from_at), uuid_floor(to_at));
    END IF;
    INSERT INTO time_partition (name, subject, from_at, to_at) VALUES (made, of_subject, from_at, to_at);
    RETURN made;
END
$$;
COMMENT ON FUNCTION make_partition IS 'Makes and attaches a partition of ledger or operation.';
REVOKE EXECUTE ON FUNCTION make_partition FROM PUBLIC;

-- Where the partitions of a subject end, or would begin anew: beyond what has fallen into the default partition meanwhile, which stays there until its time is over, so
-- that nobody waits while rows are moved.
CREATE FUNCTION partitions_begin(of_subject text, width interval, ahead interval) RETURNS timestamptz
    LANGUAGE plpgsql STABLE
AS $$
DECLARE
    begins timestamptz := (SELECT max(p.to_at) FROM time_partition p WHERE p.subject = of_subject);
    newest timestamptz;
BEGIN
    IF of_subject = 'ledger' THEN
        SELECT max(at) INTO newest FROM ledger_default WHERE at >= begins;
    ELSE
        SELECT from_micros(('x' || substr(replace(request_id::text, '-', ''), 1, 12))::bit(48)::bigint * 1000) INTO newest
        FROM operation_default WHERE request_id >= uuid_floor(begins) AND request_id < uuid_floor(clock_timestamp() + ahead)
        ORDER BY request_id DESC LIMIT 1;
    END IF;
    IF newest IS NULL THEN
        RETURN begins;
    END IF;
    -- Clocks differ: what is being written now may be a little ahead.
    RETURN begins + width * ceil(extract(epoch FROM greatest(newest, clock_timestamp()) + interval '1 hour' - begins) / extract(epoch FROM width));
END
$$;
COMMENT ON FUNCTION partitions_begin IS 'From when on the next partition can be.';
REVOKE EXECUTE ON FUNCTION partitions_begin FROM PUBLIC;

-- Widths are whole days in UTC, so that names and bounds do not depend on the session's zone.
CREATE FUNCTION make_partitions(ahead interval) RETURNS text[]
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '100ms' SET timezone = 'UTC'
AS $$
DECLARE
    s      retention;
    begins timestamptz;
    made   text[] := '{}';
BEGIN
    IF ahead > interval '1 year' THEN
        RAISE EXCEPTION 'partitions are made for at most a year ahead' USING ERRCODE = '22023';
    END IF;
    FOR s IN SELECT * FROM retention WHERE width IS NOT NULL ORDER BY subject FOR UPDATE LOOP
        begins := partitions_begin(s.subject, s.width, ahead);
        -- A bounded number at once; the next pass goes on.
        FOR n IN 1..100 LOOP
            EXIT WHEN begins >= clock_timestamp() + ahead;
            made := made || make_partition(s.subject, begins, begins + s.width);
            begins := begins + s.width;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION make_partitions IS 'Makes partitions until so long after now; returns their names. Gives up with 55P03 rather than keep anybody waiting for longer than 100 ms.';

-- Adds the entries of a ledger partition to the openings of their rows.
CREATE FUNCTION fold_ledger(dropped regclass, before timestamptz) RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format($sql$
        INSERT INTO ledger_opening AS o (sku, location, entries, version, at, on_hand, held, committed, safety, backorder, damaged, quality_hold, refurbished,
                                         freshness, cap, archived, paused)
        SELECT sku, location, count(*), max(version), max(at), sum(on_hand), sum(held), sum(committed), sum(safety), sum(backorder),
               coalesce(sum(unsellable) FILTER (WHERE condition = 'DAMAGED'), 0),
               coalesce(sum(unsellable) FILTER (WHERE condition = 'QUALITY_HOLD'), 0),
               coalesce(sum(unsellable) FILTER (WHERE condition = 'REFURBISHED'), 0),
               (array_agg(freshness ORDER BY version DESC) FILTER (WHERE freshness IS NOT NULL))[1],
               (array_agg(cap ORDER BY version DESC) FILTER (WHERE cap IS NOT NULL))[1],
               (array_agg(archived ORDER BY version DESC) FILTER (WHERE archived IS NOT NULL))[1],
               (array_agg(paused ORDER BY version DESC) FILTER (WHERE paused IS NOT NULL))[1]
        FROM %s WHERE at < %L GROUP BY sku, location
        ON CONFLICT (sku, location) DO UPDATE
        SET entries = o.entries + excluded.entries, version = greatest(o.version, excluded.version), at = greatest(o.at, excluded.at),
            on_hand = o.on_hand + excluded.on_hand, held = o.held + excluded.held, committed = o.committed + excluded.committed,
            safety = o.safety + excluded.safety, backorder = o.backorder + excluded.backorder, damaged = o.damaged + excluded.damaged,
            quality_hold = o.quality_hold + excluded.quality_hold, refurbished = o.refurbished + excluded.refurbished,
            freshness = coalesce(excluded.freshness, o.freshness), cap = coalesce(excluded.cap, o.cap), archived = coalesce(excluded.archived, o.archived),
            paused = coalesce(excluded.paused, o.paused)
        $sql$, dropped, before);
END
$$;
COMMENT ON FUNCTION fold_ledger IS 'Adds what the entries of a partition before an instant sum up to to the openings of their rows.';
REVOKE EXECUTE ON FUNCTION fold_ledger FROM PUBLIC;

-- Watches whose resume token is older than what is dropped must begin anew.
CREATE FUNCTION forget_changes(dropped regclass, before timestamptz) RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    newest xid8;
BEGIN
    EXECUTE format('SELECT greatest((SELECT max(xid) FROM %s), (SELECT max(xid) FROM ledger_default WHERE at < %L), (SELECT max(xid) FROM at_risk WHERE at < %L))',
                   dropped, before, before) INTO newest;
    UPDATE record_incarnation SET dropped_xid = greatest(dropped_xid, newest);
    DELETE FROM at_risk WHERE at < before;
END
$$;
COMMENT ON FUNCTION forget_changes IS 'Notes up to which transaction watches cannot be told of changes any more.';
REVOKE EXECUTE ON FUNCTION forget_changes FROM PUBLIC;

-- The work is done before anybody else is kept waiting, and then not thrown away because somebody was in the way: the lock is asked for again.
CREATE FUNCTION drop_partition(of_subject text, keep_from timestamptz) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '100ms' SET timezone = 'UTC'
AS $$
DECLARE
    bound   timestamptz := least(keep_from, clock_timestamp() - interval '7 days');
    dropped time_partition;
BEGIN
    PERFORM FROM retention WHERE subject = of_subject AND width IS NOT NULL FOR UPDATE;
    SELECT * INTO dropped FROM time_partition p WHERE p.subject = of_subject AND p.to_at <= bound ORDER BY p.to_at LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF of_subject = 'ledger' THEN
        PERFORM fold_ledger(dropped.name::regclass, dropped.to_at);
        -- What came here for want of a partition is over by the same date.
        PERFORM fold_ledger('ledger_default', dropped.to_at);
        PERFORM forget_changes(dropped.name::regclass, dropped.to_at);
        DELETE FROM ledger_default WHERE at < dropped.to_at;
    END IF;
    UPDATE retention SET kept_from = greatest(kept_from, dropped.to_at) WHERE subject = of_subject;
    DELETE FROM time_partition WHERE name = dropped.name;
    FOR attempt IN 1..5 LOOP
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %I IN ACCESS EXCLUSIVE MODE', of_subject);
            EXECUTE format('DROP TABLE %I', dropped.name);
            RETURN dropped.name;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            IF attempt = 5 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(1);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION drop_partition IS 'Drops the oldest partition of ledger or operation that ends at an instant or before, the ledger''s after its sums went to ledger_opening; returns its name, null if there is none. Nothing younger than 7 days is dropped. Gives up with 55P03 rather than keep anybody waiting for longer than 100 ms.';

-- Keys that came to the default partition: by their time of writing, for those of before the partitions may have no time of their own.
CREATE FUNCTION purge_operations(before timestamptz, rows_max integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    purged bigint;
BEGIN
    DELETE FROM operation_default
    WHERE ctid = ANY (ARRAY(SELECT o.ctid FROM operation_default o
                            WHERE o.created_at < least(before, clock_timestamp() - interval '7 days') LIMIT rows_max));
    GET DIAGNOSTICS purged = ROW_COUNT;
    RETURN purged;
END
$$;
COMMENT ON FUNCTION purge_operations IS 'Removes some of what the default partition of operation has had since before an instant; returns how many.';

-- Shipped and cancelled units count until a count reflects them, or the vendor has taken the cancellation. Reflected ones can count again: while they are on the shelf,
-- or after the row's count is known to have left it, an ON_HAND count that follows an AVAILABLE one has a say in them. And what an owner bought counts while the SKU's
-- policy limits that.
CREATE FUNCTION is_finished(r reservation) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN r.state IN ('RELEASED', 'EXPIRED', 'REFUSED')
        OR (r.state IN ('FULFILLED', 'CANCELLED')
            AND NOT EXISTS (SELECT
                            FROM allocation a
                            LEFT JOIN progress p USING (reservation_id, sku, location)
                            LEFT JOIN stock s USING (sku, location)
                            LEFT JOIN policy l ON l.sku = a.sku
                            WHERE a.reservation_id = r.id
                              AND (a.quantity > coalesce(p.released + p.withdrawn + least(p.fulfilled, p.reflected), 0)
                                   OR (s.meaning = 'AVAILABLE' AND p.reflected > 0 AND p.known_until > s.count_as_of)
                                   OR (r.state = 'FULFILLED' AND r.owner <> '' AND l.max_per_owner IS NOT NULL))));
COMMENT ON FUNCTION is_finished IS 'Whether none of its units count for anything any more, and none ever will; a limit per owner that is set later counts what is there.';

-- Looks at some reservations from where it stopped on, in the order of their keys, which is that of time, and removes those that are finished, with what belongs to
-- them. Whoever is at work on one keeps it until the next round.
CREATE FUNCTION purge_reservations(before timestamptz, rows_max integer) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    bound  timestamptz := least(before, clock_timestamp() - interval '7 days');
    begins uuid;
    seen   uuid[];
    gone   uuid[];
BEGIN
    SELECT coalesce(next_id, '00000000-0000-0000-0000-000000000000') INTO begins FROM retention WHERE subject = 'reservation' FOR UPDATE;
    seen := ARRAY(SELECT r.id FROM reservation r WHERE r.id > begins AND r.id < uuid_floor(bound) ORDER BY r.id LIMIT rows_max);
    -- First what may be gone is said, then it goes.
    UPDATE retention
    SET kept_from = greatest(kept_from, bound), next_id = CASE WHEN cardinality(seen) >= rows_max THEN seen[cardinality(seen)] END
    WHERE subject = 'reservation';
    WITH locked AS (
        SELECT r.id FROM reservation r WHERE r.id = ANY (seen) AND is_finished(r) AND r.state_at < bound
        ORDER BY r.id FOR UPDATE SKIP LOCKED)
    SELECT coalesce(array_agg(id), '{}') INTO gone FROM locked;
    -- A count changes progress under its row's lock alone: only under that is it known that it does not.
    PERFORM FROM stock s
    WHERE (s.sku, s.location) IN (SELECT p.sku, p.location FROM progress p WHERE p.reservation_id = ANY (gone))
    ORDER BY s.sku, s.location FOR UPDATE;
    gone := ARRAY(SELECT r.id FROM reservation r WHERE r.id = ANY (gone) AND is_finished(r));
    DELETE FROM progress WHERE reservation_id = ANY (gone);
    DELETE FROM allocation WHERE reservation_id = ANY (gone);
    DELETE FROM reservation WHERE id = ANY (gone);
    RETURN jsonb_build_object('seen', cardinality(seen), 'purged', cardinality(gone));
END
$$;
COMMENT ON FUNCTION purge_reservations IS 'Looks at some reservations of before an instant and removes the finished ones with their allocations. Nothing younger than 7 days, and nothing that still counts, is removed.';

CREATE FUNCTION partition_state(of_subject text, rows_max integer) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    ends    timestamptz := (SELECT max(p.to_at) FROM time_partition p WHERE p.subject = of_subject);
    strayed bigint;
BEGIN
    IF of_subject = 'ledger' THEN
        SELECT count(*) INTO strayed FROM (SELECT FROM ledger_default LIMIT rows_max) d;
    ELSE
        SELECT count(*) INTO strayed
        FROM (SELECT FROM operation_default WHERE request_id >= uuid_floor(timestamptz '2020-01-01 00:00:00+00') AND request_id < uuid_floor(clock_timestamp() + interval '1 year')
              LIMIT rows_max) d;
    END IF;
    RETURN jsonb_build_object('ends_at', micros(ends), 'now', micros(clock_timestamp()), 'strayed', strayed,
                              'partitions', (SELECT count(*) FROM time_partition p WHERE p.subject = of_subject));
END
$$;
COMMENT ON FUNCTION partition_state IS 'Until when there are partitions, how many, and how many rows have come to the default one for want of theirs, counted up to a limit; keys from before there were partitions, which have no time, are not among them.';

-- Transactions of another server may have numbers that this one has not reached: entries of them would be told as new when it does.
CREATE FUNCTION begin_incarnation(backup_at timestamptz) RETURNS uuid
    LANGUAGE plpgsql
AS $$
DECLARE
    begun uuid;
BEGIN
    UPDATE ledger SET xid = '3' WHERE xid >= pg_current_xact_id();
    UPDATE at_risk SET xid = '3' WHERE xid >= pg_current_xact_id();
    UPDATE janitor SET until = '-infinity';
    UPDATE record_incarnation r
    SET id = gen_random_uuid(), dropped_xid = '0', since = clock_timestamp(), backup_at = begin_incarnation.backup_at
    RETURNING r.id INTO begun;
    RETURN begun;
END
$$;
COMMENT ON FUNCTION begin_incarnation IS 'Makes the record another one than that of which it is a copy: for the owner, after restoring a backup that has everything until an instant, before the service starts.';
REVOKE EXECUTE ON FUNCTION begin_incarnation FROM PUBLIC;

-- The existing tables become the first partitions. Their time ends with the first day from tomorrow on that is a multiple of the width.
ALTER TABLE ledger RENAME TO ledger_first;
ALTER TABLE ledger_first RENAME CONSTRAINT ledger_pk TO ledger_first_pk;
CREATE TABLE ledger (LIKE ledger_first INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE (at);
-- Its indexes go with it, and new partitions get the same.
DO $$
DECLARE
    i record;
BEGIN
    FOR i IN SELECT c.relname, pg_get_indexdef(x.indexrelid) AS made, obj_description(x.indexrelid, 'pg_class') AS comment
             FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = 'ledger_first'::regclass AND NOT x.indisprimary LOOP
        EXECUTE format('ALTER INDEX %I RENAME TO %I', i.relname, replace(i.relname, 'ledger_', 'ledger_first_'));
        EXECUTE replace(i.made, '.ledger_first ', '.ledger ');
        EXECUTE format('COMMENT ON INDEX %I IS %L', i.relname, i.comment);
    END LOOP;
END
$$;
COMMENT ON TABLE ledger IS 'Every change to every quantity, with its cause. Append-only: the running role can neither change nor remove an entry. Partitioned by time: see retention.';
COMMENT ON TABLE ledger_first IS 'Rows of ledger from before it was partitioned, and for some days after.';
CREATE TABLE ledger_default (LIKE ledger INCLUDING ALL EXCLUDING INDEXES, CONSTRAINT ledger_default_pk PRIMARY KEY (sku, location, version));
CREATE INDEX ledger_default_by_time ON ledger_default (at);
COMMENT ON TABLE ledger_default IS 'Rows of ledger for which there is no partition: there should be none.';

ALTER TABLE operation RENAME TO operation_first;
ALTER TABLE operation_first RENAME CONSTRAINT operation_pk TO operation_first_pk;
CREATE TABLE operation (LIKE operation_first INCLUDING ALL EXCLUDING INDEXES, CONSTRAINT operation_pk PRIMARY KEY (request_id)) PARTITION BY RANGE (request_id);
COMMENT ON TABLE operation IS 'Every mutation that had an effect and is not Reserve, by its key. Partitioned by the time in the key: see retention. A key whose partition was dropped is refused as too old, so it is never taken for new.';
COMMENT ON COLUMN operation.request_id IS 'The caller''s key, a UUIDv7.';
COMMENT ON TABLE operation_first IS 'Rows of operation from before it was partitioned, and for some days after.';
CREATE TABLE operation_default (LIKE operation INCLUDING ALL EXCLUDING INDEXES, CONSTRAINT operation_default_pk PRIMARY KEY (request_id));
COMMENT ON TABLE operation_default IS 'Rows of operation for which there is no partition: keys from before there were partitions, which have no time, and else none.';

DO $$
DECLARE
    s    retention;
    ends timestamptz;
    rule record;
BEGIN
    -- Rules that were added to full tables without a look at what was there before must have been right all along.
    FOR rule IN SELECT c.conrelid::regclass AS of, c.conname FROM pg_constraint c
                WHERE c.conrelid IN ('ledger_first'::regclass, 'operation_first'::regclass) AND NOT c.convalidated LOOP
        EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', rule.of, rule.conname);
    END LOOP;
    FOR s IN SELECT * FROM retention WHERE width IS NOT NULL LOOP
        ends := from_micros((floor((micros(clock_timestamp()) + 86400000000) / (extract(epoch FROM s.width) * 1000000)) + 1)::bigint
                            * (extract(epoch FROM s.width) * 1000000)::bigint);
        IF s.subject = 'ledger' THEN
            EXECUTE format('ALTER TABLE ledger ATTACH PARTITION ledger_first FOR VALUES FROM (MINVALUE) TO (%L)', ends);
        ELSE
            -- Keys without a time that lie beyond.
            EXECUTE format('WITH odd AS (DELETE FROM operation_first WHERE request_id >= %L RETURNING *) INSERT INTO operation_default SELECT * FROM odd', uuid_floor(ends));
            EXECUTE format('ALTER TABLE operation ATTACH PARTITION operation_first FOR VALUES FROM (MINVALUE) TO (%L)', uuid_floor(ends));
        END IF;
        INSERT INTO time_partition (name, subject, to_at) VALUES (s.subject || '_first', s.subject, ends);
    END LOOP;
END
$$;
-- What was dropped, in the form of the entries that are kept: whoever adds up a row's ledger adds up this.
CREATE VIEW ledger_whole AS
    SELECT sku, location, version, at, cause, cause_id, on_hand, held, committed, safety, backorder, unsellable, condition, freshness, cap, archived, paused, 1::bigint AS entries
    FROM ledger
    UNION ALL
    SELECT sku, location, version, at, 'OPENING', '00000000-0000-0000-0000-000000000000', on_hand, held, committed, safety, backorder, 0, NULL, freshness, cap, archived, paused, entries
    FROM ledger_opening
    UNION ALL
    SELECT o.sku, o.location, o.version, o.at, 'OPENING', '00000000-0000-0000-0000-000000000000', 0, 0, 0, 0, 0, u.units, u.condition, NULL, NULL, NULL, NULL, 0
    FROM ledger_opening o
    CROSS JOIN LATERAL (VALUES (o.damaged, 'DAMAGED'), (o.quality_hold, 'QUALITY_HOLD'), (o.refurbished, 'REFURBISHED')) AS u(units, condition)
    WHERE u.units <> 0;
COMMENT ON VIEW ledger_whole IS 'The ledger, and for each row of stock that has lost entries to their retention what these came to, with the cause OPENING; entries says how many they were. The sums are the row''s.';

CREATE FUNCTION is_forgotten(reservation uuid, is_there boolean, held numeric) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN coalesce(reservation < uuid_floor((SELECT kept_from + interval '1 hour' FROM retention WHERE subject = 'ledger')), false)
        OR coalesce(NOT is_there AND held = 0
                    AND reservation < uuid_floor((SELECT kept_from FROM retention WHERE subject = 'reservation')), false);
COMMENT ON FUNCTION is_forgotten IS 'Whether a reservation and what the ledger says of it (what its entries come to in held) need not agree any more: entries of it were dropped, or it was purged and its entries leave nothing held. The hour: a key may be a little older or newer than its first entry.';

ALTER TABLE ledger ATTACH PARTITION ledger_default DEFAULT;
ALTER TABLE operation ATTACH PARTITION operation_default DEFAULT;
SELECT make_partitions('28 days');

REVOKE EXECUTE ON FUNCTION make_partitions, drop_partition, purge_operations, purge_reservations, partition_state FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partitions, drop_partition, purge_operations, purge_reservations, partition_state TO holdfast_reservation;
REVOKE ALL ON ledger_first, operation_first FROM holdfast_reservation;
GRANT SELECT, INSERT ON ledger, operation TO holdfast_reservation;
GRANT SELECT ON retention, time_partition, ledger_opening, ledger_whole, record_incarnation TO holdfast_reservation;
GRANT SELECT, UPDATE (holder, until) ON janitor TO holdfast_reservation;
