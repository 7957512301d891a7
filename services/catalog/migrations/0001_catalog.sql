-- What the shop sells, who supplies it, and the memory of requests that were answered.
-- Codes compare by their bytes (COLLATE "C"): the order of a list must not depend on the machine's locale, and pages are cut by code.

CREATE TABLE sku (
    code text COLLATE "C" NOT NULL,
    name text NOT NULL,
    gtin text,
    attributes jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sku_pkey PRIMARY KEY (code),
    CONSTRAINT sku_code_length CHECK (octet_length(code) BETWEEN 1 AND 128),
    CONSTRAINT sku_name_length CHECK (octet_length(name) <= 500),
    CONSTRAINT sku_gtin_shape CHECK (gtin ~ '^([0-9]{8}|[0-9]{12,14})$'),
    CONSTRAINT sku_attributes_object CHECK (jsonb_typeof(attributes) = 'object'),
    CONSTRAINT sku_attributes_count CHECK (jsonb_array_length(jsonb_path_query_array(attributes, '$.keyvalue()')) <= 50),
    CONSTRAINT sku_version_positive CHECK (version >= 1)
);
COMMENT ON TABLE sku IS 'What the shop sells. A row is created by CreateSku or an import and changed by an import.';
COMMENT ON COLUMN sku.code IS 'The shop''s own code: 1 to 128 bytes, no control characters, no white space at its ends.';
COMMENT ON COLUMN sku.name IS 'For people: 0 to 500 bytes.';
COMMENT ON COLUMN sku.gtin IS 'The GTIN, 8 or 12 to 14 digits, its check digit verified by the service; NULL when the shop gave none.';
COMMENT ON COLUMN sku.attributes IS 'What else the shop keeps about it: a flat object of strings, at most 50 keys.';
COMMENT ON COLUMN sku.version IS 'Counts the changes of the row, from 1. The etag is made of it.';
COMMENT ON COLUMN sku.create_time IS 'When the row was created.';
COMMENT ON COLUMN sku.update_time IS 'When the row last changed; equal to create_time at version 1.';

CREATE TABLE vendor (
    code text COLLATE "C" NOT NULL,
    name text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT vendor_pkey PRIMARY KEY (code),
    CONSTRAINT vendor_code_shape CHECK (code ~ '^[A-Za-z0-9._-]{1,64}$'),
    CONSTRAINT vendor_name_length CHECK (octet_length(name) <= 500)
);
COMMENT ON TABLE vendor IS 'Who supplies.';
COMMENT ON COLUMN vendor.code IS 'The vendor''s code: 1 to 64 bytes of letters, digits, ''.'', ''_'', ''-''.';
COMMENT ON COLUMN vendor.name IS 'For people: 0 to 500 bytes.';
COMMENT ON COLUMN vendor.create_time IS 'When the row was created.';

CREATE TABLE location (
    code text COLLATE "C" NOT NULL,
    name text NOT NULL,
    vendor text COLLATE "C",
    create_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT location_pkey PRIMARY KEY (code),
    CONSTRAINT location_vendor_fkey FOREIGN KEY (vendor) REFERENCES vendor (code),
    CONSTRAINT location_code_shape CHECK (code ~ '^[A-Za-z0-9._-]{1,64}$'),
    CONSTRAINT location_name_length CHECK (octet_length(name) <= 500)
);
COMMENT ON TABLE location IS 'Where units lie.';
COMMENT ON COLUMN location.code IS 'The location''s code: 1 to 64 bytes of letters, digits, ''.'', ''_'', ''-''.';
COMMENT ON COLUMN location.name IS 'For people: 0 to 500 bytes.';
COMMENT ON COLUMN location.vendor IS 'Whose it is; NULL for the shop''s own warehouses.';
COMMENT ON COLUMN location.create_time IS 'When the row was created.';

CREATE TABLE offer (
    vendor text COLLATE "C" NOT NULL,
    location text COLLATE "C" NOT NULL,
    vendor_sku text COLLATE "C" NOT NULL,
    sku text COLLATE "C" NOT NULL,
    pack_size integer NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT offer_pkey PRIMARY KEY (vendor, location, vendor_sku),
    CONSTRAINT offer_vendor_fkey FOREIGN KEY (vendor) REFERENCES vendor (code),
    CONSTRAINT offer_location_fkey FOREIGN KEY (location) REFERENCES location (code),
    CONSTRAINT offer_sku_fkey FOREIGN KEY (sku) REFERENCES sku (code),
    CONSTRAINT offer_vendor_sku_length CHECK (octet_length(vendor_sku) BETWEEN 1 AND 128),
    CONSTRAINT offer_pack_size_range CHECK (pack_size BETWEEN 1 AND 100000)
);
CREATE INDEX offer_by_sku ON offer (sku, vendor, location, vendor_sku);
COMMENT ON TABLE offer IS 'A vendor''s own code for a SKU at a location.';
COMMENT ON INDEX offer_by_sku IS 'Serves ListOffers of one SKU, in the order of its pages.';
COMMENT ON COLUMN offer.vendor IS 'The vendor.';
COMMENT ON COLUMN offer.location IS 'The location.';
COMMENT ON COLUMN offer.vendor_sku IS 'The code by which the vendor calls it: 1 to 128 bytes.';
COMMENT ON COLUMN offer.sku IS 'The SKU that it is.';
COMMENT ON COLUMN offer.pack_size IS 'Units of the SKU in one of the vendor''s units.';
COMMENT ON COLUMN offer.create_time IS 'When the row was created.';

CREATE TABLE request (
    request_id uuid NOT NULL,
    kind text NOT NULL,
    payload_hash bytea NOT NULL,
    answer bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT request_pkey PRIMARY KEY (request_id),
    CONSTRAINT request_payload_hash_length CHECK (octet_length(payload_hash) = 32)
);
CREATE INDEX request_by_create_time ON request (create_time);
COMMENT ON TABLE request IS 'Mutations that were answered OK, written in the transaction of their effect. A refused request leaves nothing here.';
COMMENT ON INDEX request_by_create_time IS 'Serves the janitor, which forgets the oldest.';
COMMENT ON COLUMN request.request_id IS 'The key that the caller made.';
COMMENT ON COLUMN request.kind IS 'The method''s name; the same key for another method is refused.';
COMMENT ON COLUMN request.payload_hash IS 'SHA-256 over what was asked for; the same key with another payload is refused.';
COMMENT ON COLUMN request.answer IS 'The response message as it was first sent, in protobuf''s encoding.';
COMMENT ON COLUMN request.create_time IS 'When it was answered.';

CREATE TABLE import (
    import_id uuid NOT NULL,
    request_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'STAGING',
    rows bigint NOT NULL DEFAULT 0,
    created bigint NOT NULL DEFAULT 0,
    updated bigint NOT NULL DEFAULT 0,
    unchanged bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT import_pkey PRIMARY KEY (import_id),
    CONSTRAINT import_state_known CHECK (state IN ('STAGING', 'APPLIED', 'REFUSED', 'ABANDONED')),
    CONSTRAINT import_rows_add_up CHECK (rows = created + updated + unchanged + failed),
    CONSTRAINT import_counts_not_negative CHECK (least(created, updated, unchanged, failed) >= 0)
);
CREATE INDEX import_by_update_time ON import (update_time);
COMMENT ON TABLE import IS 'One attempt to import a file of SKUs: what an operator reads, and by what the janitor knows whose staged rows are left over.';
COMMENT ON INDEX import_by_update_time IS 'Serves the janitor, which abandons silent attempts and forgets the oldest.';
COMMENT ON COLUMN import.import_id IS 'The attempt; a retried request is another attempt.';
COMMENT ON COLUMN import.request_id IS 'The caller''s key.';
COMMENT ON COLUMN import.state IS 'STAGING: rows arrive. APPLIED: its effect is committed. REFUSED: answered, without effect. ABANDONED: it broke off, without effect.';
COMMENT ON COLUMN import.rows IS 'Rows read, without the header; 0 until it is APPLIED or REFUSED.';
COMMENT ON COLUMN import.created IS 'SKUs that were new.';
COMMENT ON COLUMN import.updated IS 'SKUs that changed.';
COMMENT ON COLUMN import.unchanged IS 'SKUs that were as the file says already.';
COMMENT ON COLUMN import.failed IS 'Rows that were not imported.';
COMMENT ON COLUMN import.create_time IS 'When the attempt began.';
COMMENT ON COLUMN import.update_time IS 'When it last did something.';

-- Unlogged, because losing it loses nothing: an import whose staged rows do not add up is not applied. No foreign key to import, because the check would cost
-- as much as the row.
CREATE UNLOGGED TABLE import_row (
    import_id uuid NOT NULL,
    code text COLLATE "C" NOT NULL,
    line bigint NOT NULL,
    name text NOT NULL,
    gtin text,
    attributes jsonb NOT NULL,
    CONSTRAINT import_row_pkey PRIMARY KEY (import_id, code)
);
COMMENT ON TABLE import_row IS 'Good rows of imports that have not been applied. The key finds a code that stands twice in a file.';
COMMENT ON COLUMN import_row.import_id IS 'The attempt that it belongs to.';
COMMENT ON COLUMN import_row.code IS 'The SKU''s code.';
COMMENT ON COLUMN import_row.line IS 'The line of the file on which the row begins, the header being 1.';
COMMENT ON COLUMN import_row.name IS 'The name; means nothing when the file has no column for it.';
COMMENT ON COLUMN import_row.gtin IS 'The GTIN; NULL when the cell is empty or there is no column.';
COMMENT ON COLUMN import_row.attributes IS 'The attributes whose cells are not empty.';

-- The running role may change what the service changes and nothing else; it owns nothing, so it cannot alter the schema.
GRANT SELECT, INSERT, UPDATE (name, gtin, attributes, version, update_time) ON sku TO holdfast_catalog;
GRANT SELECT, INSERT ON vendor, location, offer TO holdfast_catalog;
GRANT SELECT, INSERT, DELETE ON request, import, import_row TO holdfast_catalog;
GRANT UPDATE (state, rows, created, updated, unchanged, failed, update_time) ON import TO holdfast_catalog;
