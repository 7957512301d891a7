-- Watches of availability and of reservations, reservations at risk, and which request an entry of the ledger belongs to.
-- A reader of the ledger takes the entries that its last snapshot of transactions did not see and the present one does. So nobody waits for a transaction that
-- runs for long, and nobody misses one that commits late; a sequence or a clock would do both, because neither is the order of commits.

-- pg_current_xact_id() is STABLE, so that the entries that exist get one constant, this migration's transaction, without being rewritten; every reader begins
-- after it. New entries get their own transaction.
ALTER TABLE ledger
    ADD COLUMN xid   xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN trace text;
COMMENT ON COLUMN ledger.xid IS 'The transaction that wrote it: watches tell from it what was committed since they looked last. All entries older than this column have the same one.';
COMMENT ON COLUMN ledger.trace IS 'The trace of the request that caused it, as W3C trace context writes it; null where there was none.';
-- One column, and that one grows: entries go to its end, where the page is in memory.
CREATE INDEX ledger_by_transaction ON ledger (xid);
COMMENT ON INDEX ledger_by_transaction IS 'Serves watches: what was written since.';

CREATE INDEX allocation_by_row ON allocation (sku, location, reservation_id);
COMMENT ON INDEX allocation_by_row IS 'Serves whoever asks which reservations count on a row of stock, the newest first.';

CREATE INDEX stock_short ON stock (sku, location) WHERE shortfall > 0;
COMMENT ON INDEX stock_short IS 'The rows that have less than was promised; few. An update that leaves shortfall as it is does not touch it.';

CREATE TABLE record_incarnation (
    one         boolean NOT NULL DEFAULT true,
    id          uuid    NOT NULL DEFAULT gen_random_uuid(),
    dropped_xid xid8    NOT NULL DEFAULT '0',
    CONSTRAINT record_incarnation_pk PRIMARY KEY (one),
    CONSTRAINT record_incarnation_one CHECK (one)
);
INSERT INTO record_incarnation DEFAULT VALUES;
COMMENT ON TABLE record_incarnation IS 'One row: which life of the record this is, and from where on its ledger is kept.';
COMMENT ON COLUMN record_incarnation.one IS 'Always true: there is one row.';
COMMENT ON COLUMN record_incarnation.id IS 'Stands in resume tokens. Whoever restores a backup gives it a new value: then watchers begin anew, because what they were told may never have happened.';
COMMENT ON COLUMN record_incarnation.dropped_xid IS 'The newest transaction of which ledger or at_risk has lost entries to their retention; a resume token that needs them is refused.';

CREATE TABLE at_risk (
    reservation_id uuid   NOT NULL,
    sku            text   COLLATE "C" NOT NULL,
    location       text   COLLATE "C" NOT NULL,
    stock_version  bigint NOT NULL,
    units          bigint NOT NULL,
    shortfall      bigint NOT NULL,
    at             timestamptz NOT NULL,
    xid            xid8   NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT at_risk_pk PRIMARY KEY (sku, location, stock_version, reservation_id),
    CONSTRAINT at_risk_units_within_shortfall CHECK (units BETWEEN 1 AND shortfall)
);
CREATE INDEX at_risk_by_transaction ON at_risk (xid);
COMMENT ON TABLE at_risk IS 'Which reservations were put at risk, each time that a row''s shortfall grew: an event, not a state. Append-only, written by a trigger on stock.';
COMMENT ON COLUMN at_risk.reservation_id IS 'The reservation.';
COMMENT ON COLUMN at_risk.sku IS 'The SKU of the row that is short.';
COMMENT ON COLUMN at_risk.location IS 'Its location.';
COMMENT ON COLUMN at_risk.stock_version IS 'The row''s version with the greater shortfall.';
COMMENT ON COLUMN at_risk.units IS 'Units of the reservation that are not there.';
COMMENT ON COLUMN at_risk.shortfall IS 'The row''s shortfall in all.';
COMMENT ON COLUMN at_risk.at IS 'When, by clock_timestamp() before the commit.';
COMMENT ON COLUMN at_risk.xid IS 'The transaction that wrote it.';
COMMENT ON INDEX at_risk_by_transaction IS 'Serves watches: what was written since.';

-- The columns are named one by one, so that a later migration can replace what counts without anybody noticing.
CREATE VIEW live_allocation (reservation_id, sku, location, units, state, owner, created_at) AS
    SELECT a.reservation_id, a.sku, a.location, a.quantity, r.state, r.owner, r.created_at
    FROM allocation a JOIN reservation r ON r.id = a.reservation_id
    WHERE r.state IN ('CONFIRMED', 'FULFILLED') OR (r.state = 'HELD' AND r.expires_at > statement_timestamp());
COMMENT ON VIEW live_allocation IS 'Units of reservations that still count on a row of stock; holds whose time was over when the statement began do not.';

-- Each reservation has a unit at least, so that no more are looked at than units are missing. It goes from one allocation of the row to the next (OFFSET 0), the
-- newest first, and stops when there are enough: the planner would rather join all reservations that there are.
CREATE FUNCTION at_risk_of(of_sku text, of_location text, units_short bigint, most bigint) RETURNS TABLE (reservation_id uuid, units bigint)
    LANGUAGE sql STABLE
AS $$
    SELECT n.reservation_id, least(n.units, units_short - n.before)
    FROM (SELECT l.reservation_id, l.units, sum(l.units) OVER (ORDER BY l.reservation_id DESC)::bigint - l.units AS before
          FROM (SELECT k.reservation_id, v.units
                FROM (SELECT a.reservation_id FROM allocation a
                      WHERE a.sku = of_sku AND a.location = of_location ORDER BY a.reservation_id DESC OFFSET 0) k
                CROSS JOIN LATERAL (SELECT i.units FROM live_allocation i
                                    WHERE i.reservation_id = k.reservation_id AND i.sku = of_sku AND i.location = of_location OFFSET 0) v
                WHERE v.units > 0
                ORDER BY k.reservation_id DESC LIMIT least(units_short, most)) l) n
    WHERE n.before < units_short
    ORDER BY n.reservation_id DESC
$$;
COMMENT ON FUNCTION at_risk_of IS 'Who goes without when a row is short of so many units: the newest reservations (by their keys) first, the last one perhaps in part; at most so many.';

CREATE FUNCTION name_at_risk() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO at_risk (reservation_id, sku, location, stock_version, units, shortfall, at)
    SELECT r.reservation_id, NEW.sku, NEW.location, NEW.version, r.units, NEW.shortfall, clock_timestamp()
    FROM at_risk_of(NEW.sku, NEW.location, NEW.shortfall, 1000) r;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION name_at_risk IS 'Names the reservations that a greater shortfall puts at risk, 1,000 at most: the whole shortfall stands in the row, and all who are at risk can be listed.';
-- Deferred: at the commit it sees what else the transaction does to reservations, whatever the order of its statements.
CREATE CONSTRAINT TRIGGER stock_shortfall_grew AFTER UPDATE OF shortfall ON stock DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.shortfall > OLD.shortfall) EXECUTE FUNCTION name_at_risk();

GRANT SELECT, INSERT ON at_risk TO holdfast_reservation;
GRANT SELECT ON record_incarnation, live_allocation TO holdfast_reservation;
