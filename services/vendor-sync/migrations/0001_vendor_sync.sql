-- Vendors' connections, the files that they sent, and what became of every row.
-- Codes compare by their bytes (COLLATE "C"): the order of a list must not depend on the machine's locale, and pages are cut by code.

CREATE TABLE connection (
    code text COLLATE "C" NOT NULL,
    vendor text COLLATE "C" NOT NULL,
    location text COLLATE "C" NOT NULL,
    mode text NOT NULL,
    meaning text NOT NULL,
    csv_delimiter text NOT NULL,
    csv_header text[] NOT NULL,
    csv_key_column text NOT NULL,
    csv_quantity_column text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    runs bigint NOT NULL DEFAULT 0,
    accepted_as_of timestamptz,
    accepted_sequence bigint,
    lease_holder uuid,
    lease_until timestamptz,
    CONSTRAINT connection_pkey PRIMARY KEY (code),
    CONSTRAINT connection_code_shape CHECK (code ~ '^[A-Za-z0-9._-]{1,64}$'),
    CONSTRAINT connection_mode_known CHECK (mode IN ('FULL', 'PARTIAL')),
    CONSTRAINT connection_meaning_known CHECK (meaning IN ('ON_HAND', 'AVAILABLE')),
    CONSTRAINT connection_csv_delimiter_length CHECK (octet_length(csv_delimiter) = 1),
    CONSTRAINT connection_csv_header_length CHECK (cardinality(csv_header) BETWEEN 2 AND 500),
    CONSTRAINT connection_runs_not_negative CHECK (runs >= 0),
    CONSTRAINT connection_accepted_whole CHECK ((accepted_as_of IS NULL) = (accepted_sequence IS NULL)),
    CONSTRAINT connection_lease_whole CHECK ((lease_holder IS NULL) = (lease_until IS NULL))
);
COMMENT ON TABLE connection IS 'A vendor''s feed: what its files look like and what they mean.';
COMMENT ON COLUMN connection.code IS 'The connection''s code: 1 to 64 bytes of letters, digits, ''.'', ''_'', ''-''.';
COMMENT ON COLUMN connection.vendor IS 'The vendor''s code in catalog.';
COMMENT ON COLUMN connection.location IS 'The location, by catalog''s code, whose stock it tells.';
COMMENT ON COLUMN connection.mode IS 'FULL: a code that a file does not have is gone. PARTIAL: it is unchanged.';
COMMENT ON COLUMN connection.meaning IS 'ON_HAND: everything on the shelf. AVAILABLE: the vendor has taken off the orders that it booked.';
COMMENT ON COLUMN connection.csv_delimiter IS 'What separates the columns: one ASCII character.';
COMMENT ON COLUMN connection.csv_header IS 'The header as it must stand in a file, column by column.';
COMMENT ON COLUMN connection.csv_key_column IS 'The column with the vendor''s code.';
COMMENT ON COLUMN connection.csv_quantity_column IS 'The column with the quantity.';
COMMENT ON COLUMN connection.create_time IS 'When the row was created.';
COMMENT ON COLUMN connection.runs IS 'How many runs it has had; the newest run has this number.';
COMMENT ON COLUMN connection.accepted_as_of IS 'When the vendor counted what the newest applied run says; NULL before the first. A FULL file that is not newer is stale as a whole.';
COMMENT ON COLUMN connection.accepted_sequence IS 'The sequence of that run.';
COMMENT ON COLUMN connection.lease_holder IS 'The process that works on its runs. Only saves work: two at once would do the same, once.';
COMMENT ON COLUMN connection.lease_until IS 'When another process may take over.';

CREATE TABLE run (
    run_id uuid NOT NULL,
    connection text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    state text NOT NULL DEFAULT 'APPLYING',
    as_of timestamptz NOT NULL,
    sequence bigint NOT NULL,
    file_name text NOT NULL,
    content_sha256 bytea NOT NULL,
    content_bytes bigint NOT NULL,
    create_time timestamptz NOT NULL,
    plan_time timestamptz,
    end_time timestamptz,
    reason text NOT NULL DEFAULT '',
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_time timestamptz NOT NULL,
    report_kept boolean NOT NULL DEFAULT true,
    rows bigint NOT NULL DEFAULT 0,
    applied bigint NOT NULL DEFAULT 0,
    unchanged bigint NOT NULL DEFAULT 0,
    stale bigint NOT NULL DEFAULT 0,
    unmapped bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    CONSTRAINT run_pkey PRIMARY KEY (run_id),
    CONSTRAINT run_connection_fkey FOREIGN KEY (connection) REFERENCES connection (code),
    CONSTRAINT run_number UNIQUE (connection, number),
    CONSTRAINT run_identity UNIQUE (connection, content_sha256, as_of),
    CONSTRAINT run_watermark UNIQUE (connection, as_of, sequence),
    CONSTRAINT run_state_known CHECK (state IN ('APPLYING', 'APPLIED', 'REFUSED', 'HELD')),
    CONSTRAINT run_end_time_when_final CHECK ((state = 'APPLYING') = (end_time IS NULL)),
    CONSTRAINT run_content_sha256_length CHECK (octet_length(content_sha256) = 32),
    CONSTRAINT run_file_name_length CHECK (octet_length(file_name) <= 255),
    CONSTRAINT run_numbers_not_negative CHECK (
        least(sequence, content_bytes, attempts, rows, applied, unchanged, stale, unmapped, rejected) >= 0
    ),
    CONSTRAINT run_totals_add_up CHECK (state <> 'APPLIED' OR rows = applied + unchanged + stale + unmapped + rejected)
);
CREATE INDEX run_by_create_time ON run (create_time, run_id);
CREATE INDEX run_by_connection_create_time ON run (connection, create_time, run_id);
CREATE INDEX run_by_age ON run (create_time) WHERE report_kept AND state <> 'APPLYING';
CREATE INDEX run_unfinished ON run (connection, number) WHERE state = 'APPLYING';
COMMENT ON TABLE run IS 'One file of a connection and what became of it. The same content with the same as_of is one run.';
COMMENT ON INDEX run_by_create_time IS 'Serves ListRuns, newest first.';
COMMENT ON INDEX run_by_age IS 'Serves the janitor.';
COMMENT ON INDEX run_by_connection_create_time IS 'Serves ListRuns of one connection, newest first.';
COMMENT ON INDEX run_unfinished IS 'Serves whoever looks for work.';
COMMENT ON COLUMN run.run_id IS 'The run: a UUIDv7.';
COMMENT ON COLUMN run.connection IS 'The connection.';
COMMENT ON COLUMN run.number IS '1, 2, 3 … for each connection: the order in which its runs are worked on.';
COMMENT ON COLUMN run.state IS 'APPLYING: not finished. APPLIED: every row has its outcome. REFUSED: the file is not what was registered. HELD: it looks suspect as a whole.';
COMMENT ON COLUMN run.as_of IS 'When the vendor counted.';
COMMENT ON COLUMN run.sequence IS 'Orders runs of the same connection and as_of, in the order in which they arrived, from 0.';
COMMENT ON COLUMN run.file_name IS 'The file''s name, as the uploader called it.';
COMMENT ON COLUMN run.content_sha256 IS 'SHA-256 of the file.';
COMMENT ON COLUMN run.content_bytes IS 'How large the file is.';
COMMENT ON COLUMN run.create_time IS 'When the upload was complete; read after the connection was locked, so that it follows number.';
COMMENT ON COLUMN run.plan_time IS 'When its rows and counts were stored; NULL before.';
COMMENT ON COLUMN run.end_time IS 'When it reached a state that does not change any more.';
COMMENT ON COLUMN run.reason IS 'Why it was refused or held; while it is APPLYING, what it waits for.';
COMMENT ON COLUMN run.attempts IS 'How many attempts in a row broke off.';
COMMENT ON COLUMN run.next_attempt_time IS 'Not worked on before this time.';
COMMENT ON COLUMN run.report_kept IS 'False after the janitor dropped its rows and its file; the run itself is kept, so that the same file is never applied twice.';
COMMENT ON COLUMN run.rows IS 'Rows of the report.';
COMMENT ON COLUMN run.applied IS 'Rows whose SKU''s stock was set; this and the following grow while the run is APPLYING.';
COMMENT ON COLUMN run.unchanged IS 'Rows whose SKU''s stock had that number already.';
COMMENT ON COLUMN run.stale IS 'Rows whose SKU''s stock had a newer count.';
COMMENT ON COLUMN run.unmapped IS 'Rows whose code no offer maps.';
COMMENT ON COLUMN run.rejected IS 'Rows that could not be read or were not accepted.';

CREATE TABLE run_content (
    run_id uuid NOT NULL,
    part integer NOT NULL,
    bytes bytea NOT NULL,
    CONSTRAINT run_content_pkey PRIMARY KEY (run_id, part),
    CONSTRAINT run_content_run_fkey FOREIGN KEY (run_id) REFERENCES run (run_id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT run_content_part_not_negative CHECK (part >= 0)
);
COMMENT ON TABLE run_content IS 'The files of runs that are not finished, or held: what is not applied yet must survive a restart.';
COMMENT ON COLUMN run_content.run_id IS 'The run.';
COMMENT ON COLUMN run_content.part IS '0, 1, 2 …: the order of the parts.';
COMMENT ON COLUMN run_content.bytes IS 'The part, at most 1 MiB.';

CREATE TABLE run_row (
    run_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    line bigint NOT NULL,
    vendor_sku text COLLATE "C" NOT NULL,
    raw_quantity text NOT NULL,
    sku text COLLATE "C",
    units bigint,
    fate text NOT NULL,
    note text NOT NULL,
    CONSTRAINT run_row_pkey PRIMARY KEY (run_id, ordinal),
    CONSTRAINT run_row_run_fkey FOREIGN KEY (run_id) REFERENCES run (run_id) ON DELETE CASCADE,
    CONSTRAINT run_row_line_not_negative CHECK (line >= 0),
    CONSTRAINT run_row_fate_known CHECK (fate IN ('COUNTED', 'STALE', 'UNMAPPED', 'REJECTED')),
    CONSTRAINT run_row_counted_whole CHECK (fate <> 'COUNTED' OR (sku IS NOT NULL AND units IS NOT NULL)),
    CONSTRAINT run_row_units_range CHECK (units BETWEEN 0 AND 1000000000)
);
COMMENT ON TABLE run_row IS 'The rows of a run''s report. Written once; what reservation said of a counted row stands in run_count, by its SKU.';
COMMENT ON COLUMN run_row.run_id IS 'The run.';
COMMENT ON COLUMN run_row.ordinal IS '0, 1, 2 …: the order of the report, which is the file''s.';
COMMENT ON COLUMN run_row.line IS 'The line in the file, the header being 1; 0 for a code that the file does not have.';
COMMENT ON COLUMN run_row.vendor_sku IS 'The vendor''s code, or what stands in its place.';
COMMENT ON COLUMN run_row.raw_quantity IS 'The quantity as the file has it, cut after 200 bytes.';
COMMENT ON COLUMN run_row.sku IS 'The SKU, if an offer maps the code.';
COMMENT ON COLUMN run_row.units IS 'Units of the SKU that the code says; NULL if the row is not counted.';
COMMENT ON COLUMN run_row.fate IS 'COUNTED: part of its SKU''s count. STALE: the whole file is older than what was applied. UNMAPPED, REJECTED: not counted.';
COMMENT ON COLUMN run_row.note IS 'Why, or what is to know about it; may be empty.';

CREATE TABLE run_batch (
    run_id uuid NOT NULL,
    batch integer NOT NULL,
    request_id uuid NOT NULL,
    revision integer NOT NULL DEFAULT 0,
    done_time timestamptz,
    CONSTRAINT run_batch_pkey PRIMARY KEY (run_id, batch),
    CONSTRAINT run_batch_run_fkey FOREIGN KEY (run_id) REFERENCES run (run_id) ON DELETE CASCADE,
    CONSTRAINT run_batch_revision_not_negative CHECK (revision >= 0)
);
COMMENT ON TABLE run_batch IS 'Counts that go to reservation in one request. Its key is stored before it is sent, so that a repetition has no second effect.';
COMMENT ON COLUMN run_batch.run_id IS 'The run.';
COMMENT ON COLUMN run_batch.batch IS '0, 1, 2 …';
COMMENT ON COLUMN run_batch.request_id IS 'The request''s key, derived from run, batch and revision.';
COMMENT ON COLUMN run_batch.revision IS 'How often counts were taken out because reservation refused them; each time the request becomes another one.';
COMMENT ON COLUMN run_batch.done_time IS 'When reservation''s answer was stored; NULL before.';

CREATE TABLE run_count (
    run_id uuid NOT NULL,
    sku text COLLATE "C" NOT NULL,
    batch integer NOT NULL,
    units bigint NOT NULL,
    rows integer NOT NULL,
    outcome text NOT NULL DEFAULT 'PENDING',
    previous_on_hand bigint,
    shortfall bigint,
    note text NOT NULL DEFAULT '',
    CONSTRAINT run_count_pkey PRIMARY KEY (run_id, sku),
    CONSTRAINT run_count_batch_fkey FOREIGN KEY (run_id, batch) REFERENCES run_batch (run_id, batch) ON DELETE CASCADE,
    CONSTRAINT run_count_rows_positive CHECK (rows > 0),
    CONSTRAINT run_count_units_range CHECK (units BETWEEN 0 AND 1000000000),
    CONSTRAINT run_count_outcome_known CHECK (outcome IN ('PENDING', 'APPLIED', 'UNCHANGED', 'STALE', 'REJECTED'))
);
CREATE INDEX run_count_by_batch ON run_count (run_id, batch, sku);
COMMENT ON TABLE run_count IS 'The number that each SKU gets from a run, and what reservation said to it.';
COMMENT ON INDEX run_count_by_batch IS 'Serves the making of a request.';
COMMENT ON COLUMN run_count.run_id IS 'The run.';
COMMENT ON COLUMN run_count.sku IS 'The SKU.';
COMMENT ON COLUMN run_count.batch IS 'The request that it goes with.';
COMMENT ON COLUMN run_count.units IS 'Units.';
COMMENT ON COLUMN run_count.rows IS 'How many rows of the report are part of it.';
COMMENT ON COLUMN run_count.outcome IS 'PENDING until reservation''s answer is stored; REJECTED if it did not accept the count.';
COMMENT ON COLUMN run_count.previous_on_hand IS 'on_hand before; NULL until reservation''s answer is stored, or if it was rejected.';
COMMENT ON COLUMN run_count.shortfall IS 'Units promised that the count says are not there; NULL like previous_on_hand.';
COMMENT ON COLUMN run_count.note IS 'Why reservation did not accept it; may be empty.';

CREATE TABLE feed_state (
    connection text COLLATE "C" NOT NULL,
    vendor_sku text COLLATE "C" NOT NULL,
    sku text COLLATE "C",
    units bigint,
    as_of timestamptz NOT NULL,
    sequence bigint NOT NULL,
    CONSTRAINT feed_state_pkey PRIMARY KEY (connection, vendor_sku),
    CONSTRAINT feed_state_connection_fkey FOREIGN KEY (connection) REFERENCES connection (code),
    CONSTRAINT feed_state_units_need_sku CHECK (units IS NULL OR sku IS NOT NULL),
    CONSTRAINT feed_state_units_range CHECK (units BETWEEN 0 AND 1000000000)
);
COMMENT ON TABLE feed_state IS 'What each code of a connection said last in an applied run. Written when a run ends, after reservation acknowledged all of it.';
COMMENT ON COLUMN feed_state.connection IS 'The connection.';
COMMENT ON COLUMN feed_state.vendor_sku IS 'The vendor''s code.';
COMMENT ON COLUMN feed_state.sku IS 'The SKU that it counted for; NULL if no offer mapped it.';
COMMENT ON COLUMN feed_state.units IS 'Units of the SKU; NULL if it never said a readable number for it.';
COMMENT ON COLUMN feed_state.as_of IS 'When the vendor said so.';
COMMENT ON COLUMN feed_state.sequence IS 'The sequence of the run that said so.';

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
COMMENT ON COLUMN request.answer IS 'For CreateConnection the response message in protobuf''s encoding; for UploadFeed the run''s id, 16 bytes.';
COMMENT ON COLUMN request.create_time IS 'When it was answered.';

-- The running role may change what the service changes and nothing else; it owns nothing, so it cannot alter the schema.
GRANT SELECT, INSERT, UPDATE (runs, accepted_as_of, accepted_sequence, lease_holder, lease_until) ON connection TO holdfast_vendor_sync;
GRANT SELECT, INSERT, UPDATE (
    state, plan_time, end_time, reason, attempts, next_attempt_time, report_kept, rows, applied, unchanged, stale, unmapped, rejected
) ON run TO holdfast_vendor_sync;
GRANT SELECT, INSERT, DELETE ON run_content, run_row, request TO holdfast_vendor_sync;
GRANT SELECT, INSERT, DELETE, UPDATE (request_id, revision, done_time) ON run_batch TO holdfast_vendor_sync;
GRANT SELECT, INSERT, DELETE, UPDATE (outcome, previous_on_hand, shortfall, note) ON run_count TO holdfast_vendor_sync;
GRANT SELECT, INSERT, DELETE, UPDATE (sku, units, as_of, sequence) ON feed_state TO holdfast_vendor_sync;
