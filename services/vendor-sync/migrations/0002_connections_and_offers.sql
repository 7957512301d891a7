-- Connections that change, take JSON, and are looked after: dropped and fetched files, a promised cadence, a pause. And catalog's offers, mirrored.
-- Additive: a connection that exists goes on as it was. Constraints are added to a table of a few thousand rows at most.

ALTER TABLE connection
    ALTER COLUMN csv_delimiter DROP NOT NULL,
    ALTER COLUMN csv_header DROP NOT NULL,
    ALTER COLUMN csv_key_column DROP NOT NULL,
    ALTER COLUMN csv_quantity_column DROP NOT NULL,
    ADD COLUMN json_rows_path text,
    ADD COLUMN json_key_field text,
    ADD COLUMN json_quantity_field text,
    ADD COLUMN json_lines boolean,
    ADD COLUMN cadence_micros bigint,
    ADD COLUMN drop_path text,
    ADD COLUMN drop_pattern text,
    ADD COLUMN drop_done_suffix text,
    ADD COLUMN pull_url text,
    ADD COLUMN pull_interval_micros bigint,
    ADD COLUMN pull_credential text,
    -- Those that exist have been applying their first file like any other.
    ADD COLUMN apply_first_file boolean NOT NULL DEFAULT true,
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN state text NOT NULL DEFAULT 'ACTIVE',
    ADD COLUMN state_reason text NOT NULL DEFAULT '',
    ADD COLUMN fetch_status text NOT NULL DEFAULT '',
    ADD COLUMN fetch_time timestamptz,
    ADD COLUMN fetch_due timestamptz,
    ADD COLUMN fetch_failures integer NOT NULL DEFAULT 0,
    ADD COLUMN fetch_holder uuid,
    ADD COLUMN fetch_until timestamptz,
    ADD COLUMN pull_etag text,
    ADD COLUMN pull_last_modified text,
    ADD CONSTRAINT connection_csv_whole CHECK (num_nonnulls(csv_delimiter, csv_header, csv_key_column, csv_quantity_column) IN (0, 4)),
    ADD CONSTRAINT connection_json_whole CHECK (num_nonnulls(json_rows_path, json_key_field, json_quantity_field, json_lines) IN (0, 4)),
    ADD CONSTRAINT connection_one_schema CHECK (num_nonnulls(csv_header, json_key_field) = 1),
    ADD CONSTRAINT connection_cadence_range CHECK (cadence_micros BETWEEN 60000000 AND 31622400000000),
    ADD CONSTRAINT connection_drop_whole CHECK (num_nonnulls(drop_path, drop_pattern, drop_done_suffix) IN (0, 3)),
    ADD CONSTRAINT connection_pull_whole CHECK (num_nonnulls(pull_url, pull_interval_micros, pull_credential) IN (0, 3)),
    ADD CONSTRAINT connection_one_source CHECK (num_nonnulls(drop_path, pull_url) <= 1),
    ADD CONSTRAINT connection_pull_interval_range CHECK (pull_interval_micros BETWEEN 10000000 AND 2678400000000),
    ADD CONSTRAINT connection_revision_positive CHECK (revision >= 1),
    ADD CONSTRAINT connection_state_known CHECK (state IN ('ACTIVE', 'PAUSED')),
    ADD CONSTRAINT connection_state_reason_when_paused CHECK ((state = 'PAUSED') = (state_reason <> '')),
    ADD CONSTRAINT connection_fetch_failures_not_negative CHECK (fetch_failures >= 0),
    ADD CONSTRAINT connection_fetch_lease_whole CHECK ((fetch_holder IS NULL) = (fetch_until IS NULL));
ALTER TABLE connection ALTER COLUMN apply_first_file SET DEFAULT false;
CREATE INDEX connection_by_fetch_due ON connection (fetch_due) WHERE drop_path IS NOT NULL OR pull_url IS NOT NULL;
COMMENT ON INDEX connection_by_fetch_due IS 'Serves whoever looks for folders and addresses to look at.';
COMMENT ON COLUMN connection.csv_delimiter IS 'What separates the columns: one ASCII character. NULL like the other csv columns: its files are not CSV.';
COMMENT ON COLUMN connection.json_rows_path IS 'Where the array is: keys with ''.'' between them; empty: the document is the array. NULL like the other json columns: its files are not JSON.';
COMMENT ON COLUMN connection.json_key_field IS 'The key with the vendor''s code, with ''.'' for keys of nested objects.';
COMMENT ON COLUMN connection.json_quantity_field IS 'The key with the quantity, with ''.'' for keys of nested objects.';
COMMENT ON COLUMN connection.json_lines IS 'True: one object a line.';
COMMENT ON COLUMN connection.cadence_micros IS 'How often the vendor promises a number, in microseconds, 1 minute to 366 days; NULL: nothing is promised.';
COMMENT ON COLUMN connection.drop_path IS 'The folder below the drop root from which files are taken; NULL like the other drop columns: none.';
COMMENT ON COLUMN connection.drop_pattern IS 'Which files, with ''*'' and ''?''; empty: all.';
COMMENT ON COLUMN connection.drop_done_suffix IS 'What the name of a file''s marker ends with; empty: a file is taken when it was the same in two looks.';
COMMENT ON COLUMN connection.pull_url IS 'The address from which files are fetched; NULL like the other pull columns except the validators: none.';
COMMENT ON COLUMN connection.pull_interval_micros IS 'How often, in microseconds, 10 s to 31 days.';
COMMENT ON COLUMN connection.pull_credential IS 'The name of a credential in the configuration; empty: none.';
COMMENT ON COLUMN connection.apply_first_file IS 'Whether its first file is applied like any other; otherwise it is held until a person has looked at it.';
COMMENT ON COLUMN connection.revision IS 'Counts the changes of what the connection says and of its state, from 1; its etag.';
COMMENT ON COLUMN connection.state IS 'ACTIVE: its files are applied. PAUSED: they are taken and held.';
COMMENT ON COLUMN connection.state_reason IS 'Why it is paused; empty while it is not.';
COMMENT ON COLUMN connection.fetch_status IS 'How the last look at its folder or address went; empty before the first.';
COMMENT ON COLUMN connection.fetch_time IS 'When that was.';
COMMENT ON COLUMN connection.fetch_due IS 'When the next look is due; NULL: nothing is to be looked at.';
COMMENT ON COLUMN connection.fetch_failures IS 'How many looks in a row failed; the pause before the next one grows with it.';
COMMENT ON COLUMN connection.fetch_holder IS 'Who looks at the moment. Only saves work: two at once would take every file once.';
COMMENT ON COLUMN connection.fetch_until IS 'When somebody else may look.';
COMMENT ON COLUMN connection.pull_etag IS 'The ETag of what was fetched last, sent back as If-None-Match; NULL: it had none.';
COMMENT ON COLUMN connection.pull_last_modified IS 'The Last-Modified of what was fetched last, sent back as If-Modified-Since; NULL: it had none.';

CREATE TABLE connection_event (
    event_id uuid NOT NULL,
    connection text COLLATE "C" NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT connection_event_pkey PRIMARY KEY (event_id),
    CONSTRAINT connection_event_connection_fkey FOREIGN KEY (connection) REFERENCES connection (code),
    CONSTRAINT connection_event_action_known CHECK (action IN ('CREATED', 'UPDATED', 'PAUSED', 'RESUMED')),
    CONSTRAINT connection_event_actor_length CHECK (octet_length(actor) <= 128),
    CONSTRAINT connection_event_reason_length CHECK (octet_length(reason) <= 4000)
);
CREATE INDEX connection_event_by_connection ON connection_event (connection, create_time);
COMMENT ON TABLE connection_event IS 'Who changed a connection, when, how and why. Only added to.';
COMMENT ON INDEX connection_event_by_connection IS 'Serves whoever asks what happened to a connection.';
COMMENT ON COLUMN connection_event.event_id IS 'A UUIDv7.';
COMMENT ON COLUMN connection_event.connection IS 'The connection.';
COMMENT ON COLUMN connection_event.action IS 'CREATED, UPDATED: what it says. PAUSED, RESUMED: whether its files are applied.';
COMMENT ON COLUMN connection_event.actor IS 'Who did it, in that person''s words; empty: the request does not say. "holdfast": held files did.';
COMMENT ON COLUMN connection_event.reason IS 'Why; for UPDATED the fields that were named.';
COMMENT ON COLUMN connection_event.create_time IS 'When.';

CREATE TABLE drop_file (
    connection text COLLATE "C" NOT NULL,
    file_name text COLLATE "C" NOT NULL,
    size_bytes bigint NOT NULL,
    modify_time timestamptz NOT NULL,
    seen_time timestamptz NOT NULL,
    run_id uuid,
    CONSTRAINT drop_file_pkey PRIMARY KEY (connection, file_name),
    CONSTRAINT drop_file_connection_fkey FOREIGN KEY (connection) REFERENCES connection (code),
    CONSTRAINT drop_file_run_fkey FOREIGN KEY (run_id) REFERENCES run (run_id) ON DELETE CASCADE,
    CONSTRAINT drop_file_size_not_negative CHECK (size_bytes >= 0)
);
COMMENT ON TABLE drop_file IS 'Files that lie in a connection''s drop folder: seen once and not taken yet, or taken and still there because the folder cannot be written.';
COMMENT ON COLUMN drop_file.connection IS 'The connection.';
COMMENT ON COLUMN drop_file.file_name IS 'The file''s name.';
COMMENT ON COLUMN drop_file.size_bytes IS 'Its size when it was first seen like this.';
COMMENT ON COLUMN drop_file.modify_time IS 'When it was changed last, as the folder says.';
COMMENT ON COLUMN drop_file.seen_time IS 'When it was first seen like this.';
COMMENT ON COLUMN drop_file.run_id IS 'The run that it became; NULL: it is not taken yet.';

CREATE TABLE sku_offers (
    sku text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    archived boolean NOT NULL,
    update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT sku_offers_pkey PRIMARY KEY (sku),
    CONSTRAINT sku_offers_version_positive CHECK (version >= 1)
);
COMMENT ON TABLE sku_offers IS 'What catalog told of a SKU''s offers last. A higher version replaces everything that is known of the SKU.';
COMMENT ON COLUMN sku_offers.sku IS 'The SKU.';
COMMENT ON COLUMN sku_offers.version IS 'Catalog''s count of the SKU''s changes. Versions of different SKUs say nothing about each other.';
COMMENT ON COLUMN sku_offers.archived IS 'Whether the SKU is not sold any more.';
COMMENT ON COLUMN sku_offers.update_time IS 'When this was told.';

CREATE TABLE offer (
    sku text COLLATE "C" NOT NULL,
    vendor text COLLATE "C" NOT NULL,
    location text COLLATE "C" NOT NULL,
    vendor_sku text COLLATE "C" NOT NULL,
    pack_size bigint NOT NULL,
    CONSTRAINT offer_pkey PRIMARY KEY (sku, vendor, location, vendor_sku),
    CONSTRAINT offer_sku_fkey FOREIGN KEY (sku) REFERENCES sku_offers (sku),
    CONSTRAINT offer_pack_size_range CHECK (pack_size BETWEEN 1 AND 100000)
);
CREATE INDEX offer_by_code ON offer (vendor, location, vendor_sku);
COMMENT ON TABLE offer IS 'Catalog''s offers, as it told them. While an offer moves from one SKU to another both may have it for a moment: then catalog is asked.';
COMMENT ON INDEX offer_by_code IS 'Serves the mapping of a file.';
COMMENT ON COLUMN offer.sku IS 'The SKU.';
COMMENT ON COLUMN offer.vendor IS 'The vendor''s code.';
COMMENT ON COLUMN offer.location IS 'The location''s code.';
COMMENT ON COLUMN offer.vendor_sku IS 'The code by which the vendor calls the SKU.';
COMMENT ON COLUMN offer.pack_size IS 'How many units of the SKU are in one of the vendor''s units.';

GRANT UPDATE (
    mode, meaning, csv_delimiter, csv_header, csv_key_column, csv_quantity_column, json_rows_path, json_key_field, json_quantity_field, json_lines,
    cadence_micros, drop_path, drop_pattern, drop_done_suffix, pull_url, pull_interval_micros, pull_credential, apply_first_file, revision, state,
    state_reason, fetch_status, fetch_time, fetch_due, fetch_failures, fetch_holder, fetch_until, pull_etag, pull_last_modified
) ON connection TO holdfast_vendor_sync;
GRANT SELECT, INSERT ON connection_event TO holdfast_vendor_sync;
GRANT SELECT, INSERT, DELETE, UPDATE (size_bytes, modify_time, seen_time, run_id) ON drop_file TO holdfast_vendor_sync;
GRANT SELECT, INSERT, UPDATE (version, archived, update_time) ON sku_offers TO holdfast_vendor_sync;
GRANT SELECT, INSERT, DELETE ON offer TO holdfast_vendor_sync;
