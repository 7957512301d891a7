-- Selling policies, feeds and their freshness, and counts that wait for a person.
-- Functions get new signatures or names beside the old ones: replicas of the version before go on with theirs until they are gone, and until then they know
-- neither policies nor freshness; what they make is brought right by the next policy, count or pass of the freshener.

ALTER TABLE stock
    ADD COLUMN buffer       bigint   NOT NULL DEFAULT 0,
    ADD COLUMN freshness    text     NOT NULL DEFAULT 'FRESH',
    ADD COLUMN cap_units    bigint,
    ADD COLUMN cap_as_of    timestamptz,
    ADD COLUMN cap_sequence bigint,
    ADD COLUMN archived     boolean  NOT NULL DEFAULT false,
    ADD COLUMN rank         smallint NOT NULL DEFAULT 32767,
    ADD COLUMN connection   text COLLATE "C",
    ADD COLUMN shared       boolean  NOT NULL DEFAULT false,
    ADD CONSTRAINT stock_buffer_within_safety CHECK (buffer BETWEEN 0 AND safety) NOT VALID,
    ADD CONSTRAINT stock_freshness_known CHECK (freshness IN ('FRESH', 'LATE', 'STALE')) NOT VALID,
    ADD CONSTRAINT stock_cap_complete CHECK (num_nulls(cap_units, cap_as_of, cap_sequence) IN (0, 3)) NOT VALID,
    ADD CONSTRAINT stock_cap_not_negative CHECK (cap_units >= 0) NOT VALID;
CREATE INDEX stock_by_connection ON stock (connection, freshness);
COMMENT ON INDEX stock_by_connection IS 'Serves whoever looks for rows that are not as fresh as their feed.';
COMMENT ON COLUMN stock.safety IS 'Units deliberately not offered: the policy''s, and buffer.';
COMMENT ON COLUMN stock.buffer IS 'What of safety is there because the feed is late.';
COMMENT ON COLUMN stock.freshness IS 'FRESH; LATE: more is kept back; STALE: nothing is offered.';
COMMENT ON COLUMN stock.cap_units IS 'What is offered of on_hand at most while a suspicious lower number waits for a person; null: all of it.';
COMMENT ON COLUMN stock.cap_as_of IS 'When the vendor counted that number.';
COMMENT ON COLUMN stock.cap_sequence IS 'Orders counts of the same cap_as_of.';
COMMENT ON COLUMN stock.archived IS 'The SKU is not sold any more: nothing is offered.';
COMMENT ON COLUMN stock.rank IS 'Place among the SKU''s locations, the lower the more preferred; 32767 where no policy names the location.';
COMMENT ON COLUMN stock.connection IS 'The connection whose count it has; null before the first.';
COMMENT ON COLUMN stock.shared IS 'Counts came by several connections: then an unchanged number is written too, for its moment.';

CREATE TABLE policy (
    sku                 text   COLLATE "C" NOT NULL,
    version             bigint NOT NULL DEFAULT 0,
    safety              bigint NOT NULL DEFAULT 0,
    backorder           bigint NOT NULL DEFAULT 0,
    max_per_reservation bigint,
    max_per_owner       bigint,
    default_hold        bigint,
    locations           text[] COLLATE "C" NOT NULL DEFAULT '{}',
    archived            boolean NOT NULL DEFAULT false,
    CONSTRAINT policy_pk PRIMARY KEY (sku),
    CONSTRAINT policy_numbers_not_negative CHECK (least(version, safety, backorder) >= 0),
    CONSTRAINT policy_limits_positive CHECK (least(max_per_reservation, max_per_owner, default_hold) > 0),
    CONSTRAINT policy_backorder_has_location CHECK (backorder = 0 OR cardinality(locations) > 0)
);
COMMENT ON TABLE policy IS 'How a SKU may be sold, as catalog pushed it last. Whoever makes the first row of stock of a SKU makes this row too, so that both can be locked.';
COMMENT ON COLUMN policy.sku IS 'The SKU.';
COMMENT ON COLUMN policy.version IS 'Catalog''s version of the SKU; 0 before catalog pushed any.';
COMMENT ON COLUMN policy.safety IS 'Units not offered at each location.';
COMMENT ON COLUMN policy.backorder IS 'Units that may be promised beyond what is there, at the first of locations.';
COMMENT ON COLUMN policy.max_per_reservation IS 'Most units in one reservation; null: no limit.';
COMMENT ON COLUMN policy.max_per_owner IS 'Most units that one owner may hold and have confirmed together; null: no limit.';
COMMENT ON COLUMN policy.default_hold IS 'How long a hold lasts whose request does not say, in microseconds; null: the service''s default.';
COMMENT ON COLUMN policy.locations IS 'The preferred locations, the best first.';
COMMENT ON COLUMN policy.archived IS 'The SKU is not sold any more.';

CREATE TABLE feed (
    connection        text   COLLATE "C" NOT NULL,
    location          text   COLLATE "C" NOT NULL,
    as_of             timestamptz NOT NULL,
    sequence          bigint NOT NULL,
    promised_interval bigint,
    CONSTRAINT feed_pk PRIMARY KEY (connection),
    CONSTRAINT feed_promise_positive CHECK (promised_interval > 0)
);
COMMENT ON TABLE feed IS 'How fresh each connection''s numbers are: written when a run was applied whole, and by nothing else.';
COMMENT ON COLUMN feed.connection IS 'The connection.';
COMMENT ON COLUMN feed.location IS 'The location that its last run was about.';
COMMENT ON COLUMN feed.as_of IS 'When the vendor counted what its last run said.';
COMMENT ON COLUMN feed.sequence IS 'Orders runs of the same as_of.';
COMMENT ON COLUMN feed.promised_interval IS 'How often it promises a number, in microseconds; null: never, its numbers do not age.';

CREATE TABLE mark (
    connection text   COLLATE "C" NOT NULL,
    as_of      timestamptz NOT NULL,
    sequence   bigint NOT NULL,
    CONSTRAINT mark_pk PRIMARY KEY (connection)
);
COMMENT ON TABLE mark IS 'The newest run of each connection that says something of all its rows, written with the first of its counts: a row of the connection has its number, or will, or its number waits for a person, so what is older is stale, whatever the row itself says.';
COMMENT ON COLUMN mark.connection IS 'The connection.';
COMMENT ON COLUMN mark.as_of IS 'When the vendor counted.';
COMMENT ON COLUMN mark.sequence IS 'Orders runs of the same as_of.';

ALTER TABLE ledger
    ADD COLUMN freshness text,
    ADD COLUMN cap       bigint,
    ADD COLUMN archived  boolean,
    DROP CONSTRAINT ledger_cause_known,
    ADD CONSTRAINT ledger_cause_known CHECK
        (cause IN ('RESERVE', 'CONFIRM', 'RELEASE', 'EXPIRE', 'COUNT', 'ADJUST', 'POLICY', 'FRESHNESS')) NOT VALID;
COMMENT ON COLUMN ledger.cause_id IS 'The reservation, or the request of a count or an adjustment; zeros where neither is the cause.';
COMMENT ON COLUMN ledger.note IS 'What the actor wrote; for counts the connection and run; for policies catalog''s version; for freshness the connection.';
COMMENT ON COLUMN ledger.freshness IS 'What stock.freshness became; null if it did not change.';
COMMENT ON COLUMN ledger.cap IS 'What stock.cap_units became, -1 if it was lifted; null if it did not change.';
COMMENT ON COLUMN ledger.archived IS 'What stock.archived became; null if it did not change.';

CREATE FUNCTION available_of(s stock, freed bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN s.archived OR s.freshness = 'STALE' THEN 0
                ELSE greatest(0, least(s.on_hand, coalesce(s.cap_units, s.on_hand)) - s.held - s.committed - s.safety + s.backorder + freed) END;
COMMENT ON FUNCTION available_of IS 'What can be reserved of a row if so many of its held units were freed; holdfast_stock::Level::available_with says the same.';

CREATE OR REPLACE FUNCTION available_json(skus text[]) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_array(s.sku, s.location, available_of(s, 0)) ORDER BY s.sku, s.rank, s.location), '[]')
            FROM stock s WHERE s.sku = ANY (skus));
COMMENT ON FUNCTION available_json IS 'What the gate is told after a commit: every location of the SKUs, the preferred ones first, due holds still counted.';

CREATE OR REPLACE FUNCTION level_json(s stock) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'sku', s.sku, 'location', s.location, 'on_hand', s.on_hand, 'held', s.held, 'committed', s.committed,
        'safety', s.safety, 'buffer', s.buffer, 'backorder', s.backorder, 'shortfall', s.shortfall,
        'damaged', s.damaged, 'quality_hold', s.quality_hold, 'refurbished', s.refurbished,
        'count_as_of', micros(s.count_as_of), 'count_sequence', s.count_sequence, 'version', s.version,
        'freshness', s.freshness, 'cap_units', s.cap_units, 'cap_as_of', micros(s.cap_as_of), 'cap_sequence', s.cap_sequence,
        'archived', s.archived, 'rank', s.rank, 'connection', s.connection, 'shared', s.shared);

CREATE FUNCTION policy_json(p policy) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN jsonb_build_object(
        'sku', p.sku, 'version', p.version, 'safety', p.safety, 'backorder', p.backorder, 'max_per_reservation', p.max_per_reservation,
        'max_per_owner', p.max_per_owner, 'default_hold', p.default_hold, 'locations', to_jsonb(p.locations), 'archived', p.archived);
COMMENT ON FUNCTION policy_json IS 'A selling policy, in the form that the service''s store reads and writes.';

-- Units that owners hold and have confirmed of SKUs whose policy limits that; holds that are over count for nobody.
-- First which pairs are limited: an owner with a long history costs nothing where nothing limits him.
CREATE FUNCTION owned_units(owners text[], skus text[], at timestamptz) RETURNS TABLE (owner text, sku text, units bigint)
    LANGUAGE sql STABLE ROWS 10
AS $$
    WITH w AS MATERIALIZED (
        SELECT DISTINCT u.owner, u.sku FROM unnest(owners, skus) AS u(owner, sku) JOIN policy p ON p.sku = u.sku AND p.max_per_owner IS NOT NULL)
    SELECT w.owner, w.sku, coalesce(sum(a.quantity), 0)::bigint
    FROM w
    JOIN reservation r ON r.owner = w.owner AND (r.state IN ('CONFIRMED', 'FULFILLED') OR (r.state = 'HELD' AND r.expires_at > at))
    JOIN allocation a ON a.reservation_id = r.id AND a.sku = w.sku
    GROUP BY w.owner, w.sku
$$;
COMMENT ON FUNCTION owned_units IS 'What the pairs of owner and SKU have, as far as it is limited and not nothing.';

GRANT SELECT, INSERT, UPDATE ON policy, feed, mark TO holdfast_reservation;
