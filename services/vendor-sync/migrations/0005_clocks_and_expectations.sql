-- What a connection says of the vendor's clock and of orders whose fate it never tells; and what somebody of the shop saw on hand before counting.
-- Additive: new columns are NULL for what exists, and constraints are replaced by wider ones.

ALTER TABLE connection
    ADD COLUMN clock_margin_micros bigint,
    ADD COLUMN reflection_lag_micros bigint,
    ADD CONSTRAINT connection_clock_margin_range CHECK (clock_margin_micros BETWEEN 1 AND 604800000000),
    ADD CONSTRAINT connection_reflection_lag_range CHECK (reflection_lag_micros BETWEEN 60000000 AND 5184000000000);
COMMENT ON COLUMN connection.clock_margin_micros IS 'How far the vendor''s clock may be from ours, in microseconds, at most 7 days; NULL: not at all.';
COMMENT ON COLUMN connection.reflection_lag_micros IS 'How long after an order was sent the vendor''s numbers reflect it at the latest, in microseconds, 1 minute to 60 days; NULL: nothing is known of that.';

-- The outcomes of counts are only widened: no row that exists has to be looked at.
ALTER TABLE run_count
    ADD COLUMN expected_on_hand bigint,
    DROP CONSTRAINT run_count_outcome_known,
    ADD CONSTRAINT run_count_outcome_known
        CHECK (outcome IN ('PENDING', 'APPLIED', 'UNCHANGED', 'STALE', 'REJECTED', 'CONFLICT')) NOT VALID,
    ADD CONSTRAINT run_count_expected_on_hand_range CHECK (expected_on_hand BETWEEN 0 AND 1000000000) NOT VALID;
COMMENT ON COLUMN run_count.expected_on_hand IS 'For the shop''s own counts: what the person saw on hand before counting; the count is taken only while that is so. NULL: it is taken whatever is on hand.';
COMMENT ON COLUMN run_count.outcome IS 'PENDING until reservation''s answer is stored; REJECTED if it did not accept the count; CONFLICT if something else than expected_on_hand was on hand.';
COMMENT ON COLUMN run.rejected IS 'Rows that could not be read or were not accepted, because reservation refused them or something else was on hand than was expected.';

GRANT UPDATE (clock_margin_micros, reflection_lag_micros) ON connection TO holdfast_vendor_sync;
