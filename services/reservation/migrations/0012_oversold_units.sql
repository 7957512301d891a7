-- How many units each finding of the auditor is about, so that what was oversold is a number and not only a fact. Additive: a replica of the version before notes
-- findings without it.

ALTER TABLE discrepancy
    ADD COLUMN units bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT discrepancy_units_not_negative CHECK (units >= 0);
COMMENT ON COLUMN discrepancy.units IS 'OVERSOLD: units that reservations took beyond what was available. 0 for every other kind, and where a replica of the version before found it.';
