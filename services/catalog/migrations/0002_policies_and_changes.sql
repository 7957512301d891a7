-- Selling policies, archived SKUs, etags of vendors and locations, and the log of changes that watchers and relays read.
-- Every new column has a constant default, so nothing is rewritten; what has to read the whole table comes in 0003.

ALTER TABLE sku
    ADD COLUMN policy jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN archive_time timestamptz,
    ADD COLUMN restricted boolean NOT NULL DEFAULT false,
    ADD COLUMN lost_offers boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT sku_policy_shape CHECK (
        jsonb_typeof(policy) = 'object'
        AND policy - '{safety_stock,backorder_limit,max_per_reservation,max_per_owner,default_hold_ns,locations}'::text[] = '{}'
    ) NOT VALID,
    ADD CONSTRAINT sku_policy_backorder_located CHECK (NOT policy ? 'backorder_limit' OR policy ? 'locations') NOT VALID;
COMMENT ON TABLE sku IS 'What the shop sells. A row is never deleted: what is not sold any more is archived.';
COMMENT ON COLUMN sku.policy IS 'How it may be sold: an object with those of safety_stock, backorder_limit, max_per_reservation, max_per_owner (units), default_hold_ns (nanoseconds) and locations (codes, the preferred first) that are set.';
COMMENT ON COLUMN sku.archive_time IS 'When it was archived; NULL while it is sold.';
COMMENT ON COLUMN sku.restricted IS 'Whether it ever had a policy or was archived: then reservation may know of it. Kept by a trigger.';
COMMENT ON COLUMN sku.lost_offers IS 'Whether offers of it were removed: then vendor-sync may know of some, though it has none.';
COMMENT ON COLUMN sku.version IS 'Counts the changes of the row and of its offers, from 1. The etag is made of it.';
COMMENT ON COLUMN sku.update_time IS 'When the row or its offers last changed; equal to create_time at version 1.';

ALTER TABLE vendor
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD COLUMN update_time timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN vendor.version IS 'Counts the changes of the row, from 1. The etag is made of it.';
COMMENT ON COLUMN vendor.update_time IS 'When the row last changed.';

ALTER TABLE location
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD COLUMN update_time timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN location.version IS 'Counts the changes of the row, from 1. The etag is made of it.';
COMMENT ON COLUMN location.update_time IS 'When the row last changed.';

ALTER TABLE import_row
    ALTER COLUMN name DROP NOT NULL,
    ADD COLUMN gtin_given boolean NOT NULL DEFAULT false,
    ADD COLUMN removed text[] NOT NULL DEFAULT '{}',
    ADD COLUMN policy jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN policy_removed text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN import_row.line IS 'The line of the file on which the row begins, the first being 1.';
COMMENT ON COLUMN import_row.name IS 'The name; NULL leaves it alone.';
COMMENT ON COLUMN import_row.gtin IS 'The GTIN; NULL when the cell is empty or there is none.';
COMMENT ON COLUMN import_row.gtin_given IS 'Whether there is a cell for the GTIN; without one it is left alone.';
COMMENT ON COLUMN import_row.removed IS 'Keys of the attributes whose cells are empty: they are taken away.';
COMMENT ON COLUMN import_row.policy IS 'The parts of the policy whose cells are not empty, as in sku.policy.';
COMMENT ON COLUMN import_row.policy_removed IS 'Names of the parts of the policy whose cells are empty: they are taken away.';

-- A reader takes the changes that his last snapshot of transactions did not see and the present one does. So nobody waits for a transaction that runs for long,
-- and nobody misses one that commits late; a sequence alone would do both, because it is not the order of commits.
CREATE TABLE change (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint GENERATED ALWAYS AS IDENTITY,
    sku text COLLATE "C" NOT NULL,
    policy boolean NOT NULL,
    offers boolean NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT change_pkey PRIMARY KEY (xid, seq)
);
COMMENT ON TABLE change IS 'That a SKU changed, written by triggers in the transaction of the change. What the SKU is now stands in sku and offer.';
COMMENT ON COLUMN change.xid IS 'The transaction of the change.';
COMMENT ON COLUMN change.seq IS 'Orders the changes of a transaction.';
COMMENT ON COLUMN change.sku IS 'The SKU that changed.';
COMMENT ON COLUMN change.policy IS 'Whether what reservation knows changed: the policy, or whether the SKU is archived.';
COMMENT ON COLUMN change.offers IS 'Whether what vendor-sync knows changed: the offers, or whether the SKU is archived.';
COMMENT ON COLUMN change.create_time IS 'When the transaction began.';

CREATE TABLE change_log (
    one boolean NOT NULL DEFAULT true,
    log_id uuid NOT NULL DEFAULT gen_random_uuid(),
    dropped_xid xid8 NOT NULL DEFAULT '0',
    CONSTRAINT change_log_pkey PRIMARY KEY (one),
    CONSTRAINT change_log_one CHECK (one)
);
INSERT INTO change_log DEFAULT VALUES;
COMMENT ON TABLE change_log IS 'One row about the table change as a whole.';
COMMENT ON COLUMN change_log.one IS 'Always true: there is one row.';
COMMENT ON COLUMN change_log.log_id IS 'Stands in resume tokens and cursors. Give it a new value after a backup was restored: then watchers and relays begin anew.';
COMMENT ON COLUMN change_log.dropped_xid IS 'The newest transaction whose changes the janitor has dropped.';

CREATE TABLE relay (
    destination text NOT NULL,
    cursor jsonb,
    holder uuid,
    lease_end timestamptz NOT NULL DEFAULT '-infinity',
    update_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT relay_pkey PRIMARY KEY (destination),
    CONSTRAINT relay_destination_known CHECK (destination IN ('reservation', 'vendor-sync'))
);
INSERT INTO relay (destination) VALUES ('reservation'), ('vendor-sync');
COMMENT ON TABLE relay IS 'How far each service that has to know of changes was told of them. One replica at a time tells it.';
COMMENT ON COLUMN relay.destination IS 'The service.';
COMMENT ON COLUMN relay.cursor IS 'Up to where it has acknowledged; NULL: it is told everything that there is.';
COMMENT ON COLUMN relay.holder IS 'The process that tells it; NULL: none.';
COMMENT ON COLUMN relay.lease_end IS 'When another process may take over, unless the holder says before that it is alive.';
COMMENT ON COLUMN relay.update_time IS 'When the cursor last moved.';

CREATE TABLE parked (
    destination text NOT NULL,
    sku text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    problem text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT parked_pkey PRIMARY KEY (destination, sku),
    CONSTRAINT parked_destination_fkey FOREIGN KEY (destination) REFERENCES relay (destination)
);
COMMENT ON TABLE parked IS 'SKUs that a service refused to be told of, so that they do not hold up the others. The next change of the SKU tries again.';
COMMENT ON COLUMN parked.destination IS 'The service.';
COMMENT ON COLUMN parked.sku IS 'The SKU.';
COMMENT ON COLUMN parked.version IS 'The version that was refused.';
COMMENT ON COLUMN parked.problem IS 'What the service said.';
COMMENT ON COLUMN parked.create_time IS 'When it was refused.';

CREATE FUNCTION mark_restricted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.restricted := true;
    RETURN NEW;
END
$$;
CREATE TRIGGER sku_restricted BEFORE INSERT OR UPDATE ON sku FOR EACH ROW
    WHEN ((NEW.policy <> '{}' OR NEW.archive_time IS NOT NULL) AND NOT NEW.restricted)
    EXECUTE FUNCTION mark_restricted();

CREATE FUNCTION log_new_skus() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change (sku, policy, offers) SELECT code, restricted, false FROM new_sku ORDER BY code;
    RETURN NULL;
END
$$;
CREATE TRIGGER sku_log_new AFTER INSERT ON sku REFERENCING NEW TABLE AS new_sku
    FOR EACH STATEMENT EXECUTE FUNCTION log_new_skus();

-- A version that grew without anything else is a change of the SKU's offers.
CREATE FUNCTION log_changed_skus() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change (sku, policy, offers)
    SELECT code,
        old_sku.policy <> new_sku.policy OR (old_sku.archive_time IS NULL) <> (new_sku.archive_time IS NULL),
        (old_sku.archive_time IS NULL) <> (new_sku.archive_time IS NULL)
            OR (old_sku.name, old_sku.gtin, old_sku.attributes, old_sku.policy)
                IS NOT DISTINCT FROM (new_sku.name, new_sku.gtin, new_sku.attributes, new_sku.policy)
    FROM old_sku JOIN new_sku USING (code)
    WHERE old_sku.version <> new_sku.version
    ORDER BY code;
    RETURN NULL;
END
$$;
CREATE TRIGGER sku_log_changed AFTER UPDATE ON sku REFERENCING OLD TABLE AS old_sku NEW TABLE AS new_sku
    FOR EACH STATEMENT EXECUTE FUNCTION log_changed_skus();

GRANT UPDATE (policy, archive_time, lost_offers) ON sku TO holdfast_catalog;
GRANT UPDATE (name, version, update_time) ON vendor, location TO holdfast_catalog;
GRANT DELETE ON offer TO holdfast_catalog;
GRANT SELECT, INSERT, DELETE ON change TO holdfast_catalog;
GRANT SELECT, UPDATE (dropped_xid) ON change_log TO holdfast_catalog;
GRANT SELECT, UPDATE (cursor, holder, lease_end, update_time) ON relay TO holdfast_catalog;
GRANT SELECT, INSERT, DELETE, UPDATE (version, problem, create_time) ON parked TO holdfast_catalog;
