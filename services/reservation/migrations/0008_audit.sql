-- The continuous auditor: whose turn it is, how far it came, what it found; and repair, which writes compensating entries.

CREATE TABLE audit_turn (
    singleton        boolean NOT NULL DEFAULT true,
    holder           uuid,
    held_until       timestamptz NOT NULL DEFAULT '-infinity',
    after_sku        text COLLATE "C" NOT NULL DEFAULT '',
    began_at         timestamptz,
    last_began_at    timestamptz,
    last_ended_at    timestamptz,
    CONSTRAINT audit_turn_pk PRIMARY KEY (singleton),
    CONSTRAINT audit_turn_one_row CHECK (singleton)
);
COMMENT ON TABLE audit_turn IS 'One row: which replica audits, until when nobody else does, and how far the pass through everything has come. Whoever takes the turn over goes on from there.';
COMMENT ON COLUMN audit_turn.singleton IS 'True: there is one row.';
COMMENT ON COLUMN audit_turn.holder IS 'The replica that audits, by an id that it made when it started; null before the first.';
COMMENT ON COLUMN audit_turn.held_until IS 'Until when the turn is the holder''s; it is prolonged while the holder lives.';
COMMENT ON COLUMN audit_turn.after_sku IS 'The last SKU that the pass under way has looked at; empty at its beginning.';
COMMENT ON COLUMN audit_turn.began_at IS 'When the pass under way began; null before the first.';
COMMENT ON COLUMN audit_turn.last_began_at IS 'When the last whole pass began; null before the first has ended.';
COMMENT ON COLUMN audit_turn.last_ended_at IS 'When the last whole pass ended; null before.';
INSERT INTO audit_turn DEFAULT VALUES;

CREATE TABLE discrepancy (
    id             uuid NOT NULL,
    kind           text NOT NULL,
    sku            text COLLATE "C" NOT NULL DEFAULT '',
    location       text COLLATE "C" NOT NULL DEFAULT '',
    reservation_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    detail         text NOT NULL,
    since          timestamptz NOT NULL,
    found_at       timestamptz NOT NULL,
    seen_at        timestamptz NOT NULL,
    resolved_at    timestamptz,
    CONSTRAINT discrepancy_pk PRIMARY KEY (id),
    CONSTRAINT discrepancy_kind_known CHECK (kind IN
        ('LEDGER_SUM', 'LEDGER_CHAIN', 'PROMISES', 'RESERVATION', 'POLICY', 'TURN', 'SHORTFALL', 'OVERSOLD', 'COUNTER', 'CHANNEL')),
    CONSTRAINT discrepancy_times_ordered CHECK (found_at <= seen_at)
);
CREATE UNIQUE INDEX discrepancy_open ON discrepancy (kind, sku, location, reservation_id) WHERE resolved_at IS NULL;
CREATE INDEX discrepancy_resolved ON discrepancy (resolved_at) WHERE resolved_at IS NOT NULL;
COMMENT ON TABLE discrepancy IS 'What the auditor found twice, and when it was gone again. Bounded: so many open ones, and those resolved for so long.';
COMMENT ON COLUMN discrepancy.id IS 'A UUIDv7: ordered as they were found.';
COMMENT ON COLUMN discrepancy.kind IS 'Which check it broke; the enum DiscrepancyKind says what each means.';
COMMENT ON COLUMN discrepancy.sku IS 'The SKU that it is about; empty for a reservation without units.';
COMMENT ON COLUMN discrepancy.location IS 'The location; empty where it is about a SKU as a whole, or a reservation without units.';
COMMENT ON COLUMN discrepancy.reservation_id IS 'The reservation that it is about; zeros where it is about a row of stock.';
COMMENT ON COLUMN discrepancy.detail IS 'What is wrong, in words and numbers.';
COMMENT ON COLUMN discrepancy.since IS 'From when it could have been seen: the row''s last change, but not before the last whole pass began, which found it right.';
COMMENT ON COLUMN discrepancy.found_at IS 'When it was found and confirmed by a second look.';
COMMENT ON COLUMN discrepancy.seen_at IS 'When it was last seen.';
COMMENT ON COLUMN discrepancy.resolved_at IS 'When it was found to be gone; null while it is open.';

-- Finds what was touched lately without costing its writers anything: the ledger grows in the order of time.
CREATE INDEX ledger_lately ON ledger USING brin (at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON INDEX ledger_lately IS 'Serves the auditor, who looks at rows touched lately first.';

CREATE VIEW promise AS
    SELECT a.reservation_id, a.sku, a.location, a.quantity, r.state, r.channel,
           CASE WHEN r.state = 'HELD' THEN a.quantity ELSE 0 END AS held,
           CASE WHEN r.state IN ('CONFIRMED', 'FULFILLED', 'CANCELLED')
                THEN a.quantity - coalesce(p.released + p.withdrawn + p.reflected, 0) ELSE 0 END AS committed,
           CASE WHEN r.state IN ('HELD', 'CONFIRMED', 'FULFILLED', 'CANCELLED')
                THEN a.quantity - coalesce(p.released + p.cancelled + p.fulfilled, 0) ELSE 0 END AS open,
           coalesce(p.fulfilled, 0) AS fulfilled,
           coalesce(p.released + p.cancelled + p.cancelling + p.withdrawn + p.fulfilled + p.reflected, 0) AS touched,
           CASE WHEN p.known_at IS NOT NULL THEN a.quantity ELSE 0 END AS loose,
           p.quantity AS progressed
    FROM allocation a
    LEFT JOIN reservation r ON r.id = a.reservation_id
    LEFT JOIN progress p ON p.reservation_id = a.reservation_id AND p.sku = a.sku AND p.location = a.location;
COMMENT ON VIEW promise IS 'What each allocation counts for in held and committed of its row of stock, by its reservation''s state (null: there is no such reservation) and by what became of its units (rule 15). open: units neither given back, called off nor shipped; touched: more than 0 if anything happened to it after it was held; loose: by so many units its own entries in the ledger may differ from it, because counts'' entries moved them; progressed: the units of its row of progress, null where it has none. The auditor and repair read the rule here only.';

CREATE FUNCTION contradiction(of_state text, parts bigint, open numeric, fulfilled numeric, touched numeric) RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE
        WHEN parts = 0 THEN CASE WHEN of_state IN ('HELD', 'CONFIRMED', 'FULFILLED', 'EXPIRED', 'CANCELLED') THEN of_state || ' without allocations' END
        WHEN CASE of_state WHEN 'CONFIRMED' THEN open <= 0
                           WHEN 'FULFILLED' THEN open <> 0 OR fulfilled = 0
                           WHEN 'CANCELLED' THEN open <> 0 OR fulfilled <> 0
                           ELSE touched <> 0 END
        THEN format('%s, but %s units of it are open, %s were shipped, and %s were otherwise moved', of_state, open, fulfilled, touched) END;
COMMENT ON FUNCTION contradiction IS 'What is wrong with a reservation by itself, whatever the ledger says, by its state and the sums over its promises: it should have taken units and has none, or its state does not fit what became of them; null if nothing is.';

ALTER TABLE ledger
    DROP CONSTRAINT ledger_cause_known,
    ADD CONSTRAINT ledger_cause_known CHECK
        (cause IN ('RESERVE', 'CONFIRM', 'RELEASE', 'EXPIRE', 'COUNT', 'ADJUST', 'POLICY', 'FRESHNESS', 'FULFIL', 'CANCEL', 'RETURN', 'EVIDENCE', 'PAUSE', 'RESUME', 'REPAIR')) NOT VALID;
COMMENT ON COLUMN ledger.cause_id IS 'The reservation, or the request of a count, an adjustment, a pause, its end or a repair (of a reservation''s share in it: the reservation); zeros where neither is the cause.';

GRANT SELECT, UPDATE ON audit_turn TO holdfast_reservation;
GRANT SELECT, INSERT, UPDATE, DELETE ON discrepancy TO holdfast_reservation;
GRANT SELECT ON promise TO holdfast_reservation;
