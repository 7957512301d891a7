-- Stock, the reservations made on it, the ledger of every change, and the keys of every other mutation.
-- The running role may read and write rows, but neither alter the schema nor change or remove a ledger entry.

CREATE TABLE stock (
    sku            text   COLLATE "C" NOT NULL,
    location       text   COLLATE "C" NOT NULL,
    on_hand        bigint NOT NULL DEFAULT 0,
    held           bigint NOT NULL DEFAULT 0,
    committed      bigint NOT NULL DEFAULT 0,
    safety         bigint NOT NULL DEFAULT 0,
    backorder      bigint NOT NULL DEFAULT 0,
    shortfall      bigint NOT NULL DEFAULT 0,
    damaged        bigint NOT NULL DEFAULT 0,
    quality_hold   bigint NOT NULL DEFAULT 0,
    refurbished    bigint NOT NULL DEFAULT 0,
    count_as_of    timestamptz,
    count_sequence bigint,
    version        bigint NOT NULL DEFAULT 0,
    CONSTRAINT stock_pk PRIMARY KEY (sku, location),
    CONSTRAINT stock_on_hand_not_negative CHECK (on_hand >= 0),
    CONSTRAINT stock_held_not_negative CHECK (held >= 0),
    CONSTRAINT stock_committed_not_negative CHECK (committed >= 0),
    CONSTRAINT stock_safety_not_negative CHECK (safety >= 0),
    CONSTRAINT stock_backorder_not_negative CHECK (backorder >= 0),
    CONSTRAINT stock_unsellable_not_negative CHECK (damaged >= 0 AND quality_hold >= 0 AND refurbished >= 0),
    CONSTRAINT stock_count_complete CHECK ((count_as_of IS NULL) = (count_sequence IS NULL)),
    -- I2. Reserving never names the column shortfall, so an oversell breaks this.
    CONSTRAINT stock_shortfall_exact CHECK (shortfall = greatest(0, held + committed - on_hand - backorder))
) WITH (fillfactor = 70);

COMMENT ON TABLE stock IS 'Units of one SKU at one location. Each row equals the sum of its ledger entries.';
COMMENT ON COLUMN stock.sku IS 'The shop''s own code. Byte order, so that every replica locks in the same order.';
COMMENT ON COLUMN stock.location IS 'The location''s code.';
COMMENT ON COLUMN stock.on_hand IS 'Sellable units counted, by the last count and later adjustments.';
COMMENT ON COLUMN stock.held IS 'Units in HELD reservations, those past their time included until they are swept.';
COMMENT ON COLUMN stock.committed IS 'Confirmed units that are neither cancelled nor reflected by the count.';
COMMENT ON COLUMN stock.safety IS 'Units deliberately not offered.';
COMMENT ON COLUMN stock.backorder IS 'Units that may be promised beyond what is there.';
COMMENT ON COLUMN stock.shortfall IS 'Units promised that the latest count says are not there.';
COMMENT ON COLUMN stock.damaged IS 'Units that are there, damaged.';
COMMENT ON COLUMN stock.quality_hold IS 'Units that are there, waiting for inspection.';
COMMENT ON COLUMN stock.refurbished IS 'Units that are there, refurbished, used or opened.';
COMMENT ON COLUMN stock.count_as_of IS 'When the vendor counted, for the count last taken; null before the first.';
COMMENT ON COLUMN stock.count_sequence IS 'Orders counts of the same count_as_of.';
COMMENT ON COLUMN stock.version IS 'Version of the newest ledger entry; 0 only inside the transaction that creates the row.';

CREATE TABLE reservation (
    id               uuid   NOT NULL,
    owner            text,
    payload_hash     bytea,
    lines            jsonb  NOT NULL DEFAULT '[]',
    state            text   NOT NULL,
    created_at       timestamptz NOT NULL,
    first_expires_at timestamptz,
    expires_at       timestamptz,
    state_at         timestamptz NOT NULL,
    version          bigint NOT NULL,
    shortages        jsonb,
    CONSTRAINT reservation_pk PRIMARY KEY (id),
    CONSTRAINT reservation_state_known CHECK
        (state IN ('HELD', 'CONFIRMED', 'FULFILLED', 'RELEASED', 'EXPIRED', 'CANCELLED', 'REFUSED')),
    CONSTRAINT reservation_hold_has_end CHECK (state <> 'HELD' OR (expires_at IS NOT NULL AND owner IS NOT NULL)),
    CONSTRAINT reservation_refusal_has_shortages CHECK ((state = 'REFUSED') = (shortages IS NOT NULL)),
    CONSTRAINT reservation_version_positive CHECK (version >= 1)
);
CREATE INDEX reservation_due ON reservation (expires_at) WHERE state = 'HELD';
CREATE INDEX reservation_by_owner ON reservation (owner, id DESC);

COMMENT ON TABLE reservation IS 'One owner''s lines, held together; also the fences that close a key (RELEASED without owner, REFUSED).';
COMMENT ON COLUMN reservation.id IS 'The caller''s key, a UUIDv7.';
COMMENT ON COLUMN reservation.owner IS 'Whose it is, as the caller said; null where Release closed an unused key.';
COMMENT ON COLUMN reservation.payload_hash IS 'SHA-256 of what was asked for; null where Release closed an unused key.';
COMMENT ON COLUMN reservation.lines IS 'What was asked for: [SKU, named location or null, units] in the order of SKU and location; empty where Release closed an unused key.';
COMMENT ON COLUMN reservation.state IS 'HELD, CONFIRMED, FULFILLED, RELEASED, EXPIRED, CANCELLED or REFUSED (a fence without units).';
COMMENT ON COLUMN reservation.created_at IS 'When it was made.';
COMMENT ON COLUMN reservation.first_expires_at IS 'Until when it was first held: part of the first answer, never changed.';
COMMENT ON COLUMN reservation.expires_at IS 'Until when it can be confirmed.';
COMMENT ON COLUMN reservation.state_at IS 'When it reached its state.';
COMMENT ON COLUMN reservation.version IS 'Grows by one with every change, from 1.';
COMMENT ON COLUMN reservation.shortages IS 'REFUSED only: which lines were short, as they were answered.';

CREATE TABLE allocation (
    reservation_id uuid   NOT NULL,
    sku            text   COLLATE "C" NOT NULL,
    location       text   COLLATE "C" NOT NULL,
    quantity       bigint NOT NULL,
    CONSTRAINT allocation_pk PRIMARY KEY (reservation_id, sku, location),
    CONSTRAINT allocation_quantity_positive CHECK (quantity > 0)
);
COMMENT ON TABLE allocation IS 'What a reservation took from one row of stock. Written once, with its reservation. No foreign keys: the committer is the only writer.';
COMMENT ON COLUMN allocation.reservation_id IS 'The reservation.';
COMMENT ON COLUMN allocation.sku IS 'The SKU.';
COMMENT ON COLUMN allocation.location IS 'Where the units lie.';
COMMENT ON COLUMN allocation.quantity IS 'Units.';

-- Read by its index on due holds, then hold by hold: OFFSET 0 keeps the planner, whose statistics still show holds that have long ended, from reading all
-- allocations instead.
CREATE VIEW due_allocation AS
    SELECT r.id AS reservation_id, a.sku, a.location, a.quantity
    FROM reservation r
    CROSS JOIN LATERAL (SELECT * FROM allocation WHERE allocation.reservation_id = r.id OFFSET 0) a
    WHERE r.state = 'HELD' AND r.expires_at <= statement_timestamp();
COMMENT ON VIEW due_allocation IS 'Units held by holds whose time was over when the statement began: they count for nobody, though the sweeper has not come by yet.';

CREATE TABLE ledger (
    sku        text   COLLATE "C" NOT NULL,
    location   text   COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    at         timestamptz NOT NULL,
    cause      text   NOT NULL,
    cause_id   uuid   NOT NULL,
    on_hand    bigint NOT NULL DEFAULT 0,
    held       bigint NOT NULL DEFAULT 0,
    committed  bigint NOT NULL DEFAULT 0,
    safety     bigint NOT NULL DEFAULT 0,
    backorder  bigint NOT NULL DEFAULT 0,
    unsellable bigint NOT NULL DEFAULT 0,
    condition  text,
    reason     text,
    actor      text   NOT NULL,
    note       text   NOT NULL DEFAULT '',
    CONSTRAINT ledger_pk PRIMARY KEY (sku, location, version),
    CONSTRAINT ledger_version_positive CHECK (version >= 1),
    CONSTRAINT ledger_cause_known CHECK (cause IN ('RESERVE', 'CONFIRM', 'RELEASE', 'EXPIRE', 'COUNT', 'ADJUST', 'POLICY')),
    CONSTRAINT ledger_condition_known CHECK (condition IN ('DAMAGED', 'QUALITY_HOLD', 'REFURBISHED')),
    CONSTRAINT ledger_condition_with_units CHECK ((condition IS NULL) = (unsellable = 0))
);
COMMENT ON TABLE ledger IS 'Every change to every quantity, with its cause. Append-only: the running role can neither change nor remove an entry.';
COMMENT ON COLUMN ledger.sku IS 'The SKU.';
COMMENT ON COLUMN ledger.location IS 'The location.';
COMMENT ON COLUMN ledger.version IS '1, 2, 3 … per row of stock, without gaps.';
COMMENT ON COLUMN ledger.at IS 'When, by clock_timestamp() after the row was locked.';
COMMENT ON COLUMN ledger.cause IS 'What caused it.';
COMMENT ON COLUMN ledger.cause_id IS 'The reservation, or the request of a count or an adjustment.';
COMMENT ON COLUMN ledger.on_hand IS 'Change of stock.on_hand.';
COMMENT ON COLUMN ledger.held IS 'Change of stock.held.';
COMMENT ON COLUMN ledger.committed IS 'Change of stock.committed.';
COMMENT ON COLUMN ledger.safety IS 'Change of stock.safety.';
COMMENT ON COLUMN ledger.backorder IS 'Change of stock.backorder.';
COMMENT ON COLUMN ledger.unsellable IS 'Change of the column of stock that condition names.';
COMMENT ON COLUMN ledger.condition IS 'Which unsellable units changed; null if none did.';
COMMENT ON COLUMN ledger.reason IS 'Adjustments: why.';
COMMENT ON COLUMN ledger.actor IS 'Who: the caller, or the person that it spoke for.';
COMMENT ON COLUMN ledger.note IS 'What the actor wrote; for counts the connection and run.';

CREATE TABLE operation (
    request_id   uuid  NOT NULL,
    payload_hash bytea NOT NULL,
    answer       jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT operation_pk PRIMARY KEY (request_id)
);
COMMENT ON TABLE operation IS 'Every mutation that had an effect and is not Reserve, by its key.';
COMMENT ON COLUMN operation.request_id IS 'The caller''s key.';
COMMENT ON COLUMN operation.payload_hash IS 'SHA-256 of the verb and what was asked for.';
COMMENT ON COLUMN operation.answer IS 'The first answer.';
COMMENT ON COLUMN operation.created_at IS 'When it was made.';

GRANT SELECT, INSERT, UPDATE, DELETE ON stock, reservation TO holdfast_reservation;
GRANT SELECT, INSERT ON allocation, ledger, operation TO holdfast_reservation;
GRANT SELECT ON due_allocation TO holdfast_reservation;
