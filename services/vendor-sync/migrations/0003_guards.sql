-- What guards stop and people decide: held files that are approved or rejected, quarantined numbers, and the shop's own numbers as those of a vendor.
-- Additive: new columns have defaults or are NULL for what exists; constraints are replaced by wider ones; the new indexes are small (partial) except run_identity.

-- The shop's own numbers come by a connection that is always there.
INSERT INTO connection
    (code, vendor, location, mode, meaning, csv_delimiter, csv_header, csv_key_column, csv_quantity_column, apply_first_file)
VALUES ('house', 'house', '', 'PARTIAL', 'ON_HAND', ',', '{sku,quantity}', 'sku', 'quantity', true)
ON CONFLICT (code) DO UPDATE
SET vendor = excluded.vendor, location = excluded.location, mode = excluded.mode, meaning = excluded.meaning, csv_delimiter = excluded.csv_delimiter,
    csv_header = excluded.csv_header, csv_key_column = excluded.csv_key_column, csv_quantity_column = excluded.csv_quantity_column, json_rows_path = NULL,
    json_key_field = NULL, json_quantity_field = NULL, json_lines = NULL, cadence_micros = NULL, drop_path = NULL, drop_pattern = NULL,
    drop_done_suffix = NULL, pull_url = NULL, pull_interval_micros = NULL, pull_credential = NULL, apply_first_file = true;

ALTER TABLE connection ADD COLUMN holds_in_row integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT connection_holds_in_row_not_negative CHECK (holds_in_row >= 0);
COMMENT ON COLUMN connection.holds_in_row IS 'How many files in a row looked suspect, since the last one that was applied or paused it.';

ALTER TABLE run
    ADD COLUMN location text COLLATE "C",
    ADD COLUMN origin text NOT NULL DEFAULT 'UPLOAD',
    ADD COLUMN typed_by text NOT NULL DEFAULT '',
    ADD COLUMN typed_note text NOT NULL DEFAULT '',
    ADD COLUMN warnings text[] NOT NULL DEFAULT '{}',
    ADD COLUMN approved boolean NOT NULL DEFAULT false,
    ADD COLUMN decide_time timestamptz,
    ADD COLUMN decided_by text NOT NULL DEFAULT '',
    ADD COLUMN decision_reason text NOT NULL DEFAULT '',
    ADD COLUMN quarantined bigint NOT NULL DEFAULT 0,
    ADD COLUMN file_rows bigint,
    ADD COLUMN file_top_permille integer,
    DROP CONSTRAINT run_state_known,
    DROP CONSTRAINT run_end_time_when_final,
    DROP CONSTRAINT run_totals_add_up,
    DROP CONSTRAINT run_identity,
    ADD CONSTRAINT run_state_known CHECK (state IN ('APPLYING', 'APPLIED', 'REFUSED', 'HELD', 'REJECTED', 'SUPERSEDED')),
    -- A file that was held before this migration has an end_time, though it waits.
    ADD CONSTRAINT run_end_time_when_final CHECK (state = 'HELD' OR (state = 'APPLYING') = (end_time IS NULL)),
    ADD CONSTRAINT run_totals_add_up CHECK (state <> 'APPLIED' OR rows = applied + unchanged + stale + unmapped + rejected + quarantined),
    ADD CONSTRAINT run_quarantined_not_negative CHECK (quarantined >= 0),
    ADD CONSTRAINT run_origin_known CHECK (origin IN ('UPLOAD', 'DROP_FOLDER', 'HTTP_PULL', 'TYPED')),
    ADD CONSTRAINT run_house_has_location CHECK (connection <> 'house' OR location IS NOT NULL),
    ADD CONSTRAINT run_decided_whole CHECK ((decide_time IS NULL) = (decided_by = '')),
    ADD CONSTRAINT run_file_facts_whole CHECK ((file_rows IS NULL) = (file_top_permille IS NULL)),
    ADD CONSTRAINT run_file_top_permille_range CHECK (file_top_permille BETWEEN 0 AND 1000);
CREATE UNIQUE INDEX run_identity ON run (connection, content_sha256, as_of, coalesce(location, ''));
CREATE INDEX run_held ON run (connection) WHERE state = 'HELD';
CREATE INDEX run_accepted ON run (connection, number) WHERE state = 'APPLIED' AND file_rows IS NOT NULL;
COMMENT ON INDEX run_identity IS 'The same content of the same moment for the same location is one run.';
COMMENT ON INDEX run_held IS 'Serves the replacing of held files by a newer one.';
COMMENT ON INDEX run_accepted IS 'Serves the file gate, which compares with the last accepted files.';
COMMENT ON COLUMN run.location IS 'For the shop''s own numbers: the location that they are about. NULL: the connection''s.';
COMMENT ON COLUMN run.origin IS 'How the file came: UPLOAD, DROP_FOLDER, HTTP_PULL, or TYPED.';
COMMENT ON COLUMN run.typed_by IS 'For the shop''s own numbers: who typed or sent them. Empty for vendors'' files.';
COMMENT ON COLUMN run.typed_note IS 'For the shop''s own numbers: why, in that person''s words; may be empty.';
COMMENT ON COLUMN run.warnings IS 'What the file gate had to say of a file that is applied all the same.';
COMMENT ON COLUMN run.approved IS 'Whether a person believed the file while it was held: then the gate lets it through.';
COMMENT ON COLUMN run.decide_time IS 'When it was approved or rejected while it was held; NULL: it was not.';
COMMENT ON COLUMN run.decided_by IS 'Who did that; "holdfast": its file was dropped after a long time without a decision. Empty: nobody.';
COMMENT ON COLUMN run.decision_reason IS 'Why, in that person''s words.';
COMMENT ON COLUMN run.quarantined IS 'Rows that a guard stopped.';
COMMENT ON COLUMN run.file_rows IS 'Rows of the file, for the comparison of later files. NULL: it is none to compare with.';
COMMENT ON COLUMN run.file_top_permille IS 'The share of the file''s commonest number, in thousandths of its rows. NULL like file_rows.';
COMMENT ON COLUMN run.state IS 'APPLYING: not finished. APPLIED: every row has its outcome. REFUSED: the file is not what was registered. HELD: it looks suspect as a whole and waits. REJECTED: a person did not believe it. SUPERSEDED: a newer one took its place.';

ALTER TABLE run_row
    ADD COLUMN quantity bigint,
    ADD COLUMN quarantine_id uuid,
    DROP CONSTRAINT run_row_fate_known,
    ADD CONSTRAINT run_row_fate_known CHECK (fate IN ('COUNTED', 'STALE', 'UNMAPPED', 'REJECTED', 'QUARANTINED')),
    ADD CONSTRAINT run_row_quarantined_whole CHECK ((fate = 'QUARANTINED') = (quarantine_id IS NOT NULL));
COMMENT ON COLUMN run_row.quantity IS 'The number that the code says, in the vendor''s units; NULL if it cannot be read, or the row was stored before this was kept.';
COMMENT ON COLUMN run_row.quarantine_id IS 'Which quarantined number it became.';

ALTER TABLE run_count
    ADD COLUMN effect text NOT NULL DEFAULT 'SET',
    DROP CONSTRAINT run_count_rows_positive,
    ADD CONSTRAINT run_count_rows_not_negative CHECK (rows >= 0),
    ADD CONSTRAINT run_count_effect_known CHECK (effect IN ('SET', 'LIMIT'));
COMMENT ON COLUMN run_count.effect IS 'SET: so many are there. LIMIT: no more than so many are offered while a lower number waits for a person.';

ALTER TABLE feed_state
    ADD COLUMN quantity bigint,
    ADD CONSTRAINT feed_state_quantity_not_negative CHECK (quantity >= 0);
COMMENT ON COLUMN feed_state.quantity IS 'What the code said in the vendor''s units; NULL if that is not known.';

CREATE TABLE quarantined (
    quarantine_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'PENDING',
    kind text NOT NULL,
    connection text COLLATE "C" NOT NULL,
    run_id uuid,
    line bigint NOT NULL DEFAULT 0,
    vendor_sku text COLLATE "C" NOT NULL,
    sku text COLLATE "C" NOT NULL,
    location text COLLATE "C" NOT NULL,
    raw_quantity text NOT NULL,
    pack_size bigint NOT NULL DEFAULT 1,
    old_units bigint,
    new_units bigint,
    rules text[] NOT NULL,
    explanation text NOT NULL,
    exposure bigint NOT NULL,
    as_of timestamptz NOT NULL,
    sequence bigint NOT NULL,
    is_limited boolean NOT NULL DEFAULT false,
    believe_time timestamptz,
    typed_by text NOT NULL DEFAULT '',
    typed_note text NOT NULL DEFAULT '',
    adjustments bytea,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    decide_time timestamptz,
    decided_by text NOT NULL DEFAULT '',
    decision_reason text NOT NULL DEFAULT '',
    decided_units bigint,
    sent_units bigint,
    sent_effect text,
    sent_place integer,
    outcome text,
    outcome_note text NOT NULL DEFAULT '',
    done_time timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT quarantined_pkey PRIMARY KEY (quarantine_id),
    CONSTRAINT quarantined_connection_fkey FOREIGN KEY (connection) REFERENCES connection (code),
    CONSTRAINT quarantined_run_fkey FOREIGN KEY (run_id) REFERENCES run (run_id),
    CONSTRAINT quarantined_state_known CHECK (state IN ('PENDING', 'APPROVED', 'REJECTED', 'SUPERSEDED')),
    CONSTRAINT quarantined_kind_known CHECK (kind IN ('COUNT', 'ADJUSTMENT')),
    CONSTRAINT quarantined_kind_whole CHECK ((kind = 'COUNT') = (run_id IS NOT NULL) AND (kind = 'ADJUSTMENT') = (adjustments IS NOT NULL)),
    CONSTRAINT quarantined_decided_whole CHECK ((state = 'PENDING') = (decide_time IS NULL)),
    CONSTRAINT quarantined_done_when_decided CHECK (done_time IS NULL OR decide_time IS NOT NULL),
    CONSTRAINT quarantined_sent_whole CHECK (num_nonnulls(sent_units, sent_effect, sent_place) IN (0, 3)),
    CONSTRAINT quarantined_sent_effect_known CHECK (sent_effect IN ('SET', 'LIMIT', 'UNLIMIT')),
    CONSTRAINT quarantined_outcome_known CHECK (outcome IN ('APPLIED', 'UNCHANGED', 'STALE', 'REJECTED')),
    CONSTRAINT quarantined_units_range CHECK (
        greatest(old_units, new_units, decided_units, sent_units) <= 1000000000 AND least(old_units, new_units, decided_units, sent_units) >= 0
    ),
    CONSTRAINT quarantined_numbers_not_negative CHECK (least(line, exposure, sequence, attempts, sent_place) >= 0 AND pack_size >= 1)
);
CREATE INDEX feed_state_by_sku ON feed_state (connection, sku);
COMMENT ON INDEX feed_state_by_sku IS 'Serves decisions: what the other codes of a SKU say.';
CREATE INDEX quarantined_by_time ON quarantined (create_time, quarantine_id);
CREATE INDEX quarantined_pending ON quarantined (connection, location, vendor_sku) WHERE state = 'PENDING';
CREATE INDEX quarantined_waiting ON quarantined (create_time, quarantine_id) WHERE state = 'PENDING';
CREATE INDEX quarantined_to_believe ON quarantined (believe_time) WHERE state = 'PENDING' AND believe_time IS NOT NULL;
CREATE INDEX quarantined_to_do ON quarantined (connection, decide_time) WHERE decide_time IS NOT NULL AND done_time IS NULL;
CREATE INDEX quarantined_by_run ON quarantined (run_id, sku);
CREATE INDEX quarantined_done ON quarantined (create_time) WHERE done_time IS NOT NULL;
COMMENT ON TABLE quarantined IS 'Numbers that a guard stopped, and what people decided of them.';
COMMENT ON INDEX quarantined_by_time IS 'Serves the list, newest first.';
COMMENT ON INDEX quarantined_waiting IS 'Serves the list of those that wait, newest first.';
COMMENT ON INDEX quarantined_pending IS 'Serves the replacing of a number by a newer one of its code.';
COMMENT ON INDEX quarantined_to_believe IS 'Serves the believing of lower numbers after a cadence.';
COMMENT ON INDEX quarantined_to_do IS 'Serves whoever carries decisions out.';
COMMENT ON INDEX quarantined_by_run IS 'Serves the list by run, and the order of decisions on one SKU of a run.';
COMMENT ON INDEX quarantined_done IS 'Serves the janitor.';
COMMENT ON COLUMN quarantined.quarantine_id IS 'A UUIDv7.';
COMMENT ON COLUMN quarantined.state IS 'PENDING: it waits. APPROVED: believed. REJECTED: not believed. SUPERSEDED: a newer number of its code took its place.';
COMMENT ON COLUMN quarantined.kind IS 'COUNT: a number of a file. ADJUSTMENT: a request of the shop, as a whole.';
COMMENT ON COLUMN quarantined.connection IS 'The connection.';
COMMENT ON COLUMN quarantined.run_id IS 'The run; NULL for adjustments.';
COMMENT ON COLUMN quarantined.line IS 'The line in the file, the header being 1; 0 for adjustments.';
COMMENT ON COLUMN quarantined.vendor_sku IS 'The vendor''s code; of an adjustment the SKU that was stopped.';
COMMENT ON COLUMN quarantined.sku IS 'The SKU.';
COMMENT ON COLUMN quarantined.location IS 'The location''s code.';
COMMENT ON COLUMN quarantined.raw_quantity IS 'The quantity as it was written.';
COMMENT ON COLUMN quarantined.pack_size IS 'Units of the SKU in one of the vendor''s units.';
COMMENT ON COLUMN quarantined.old_units IS 'Units of the SKU before; NULL if nothing was known.';
COMMENT ON COLUMN quarantined.new_units IS 'Units that the number says; NULL if it can be read in two ways.';
COMMENT ON COLUMN quarantined.rules IS 'The rules that stopped it, the most telling first.';
COMMENT ON COLUMN quarantined.explanation IS 'What looks wrong, in words.';
COMMENT ON COLUMN quarantined.exposure IS 'Units that could be sold without being there, if it is wrong and is believed.';
COMMENT ON COLUMN quarantined.as_of IS 'When the vendor counted.';
COMMENT ON COLUMN quarantined.sequence IS 'The sequence of the run.';
COMMENT ON COLUMN quarantined.is_limited IS 'Whether the offer of its SKU is limited on its account.';
COMMENT ON COLUMN quarantined.believe_time IS 'When it is believed by itself; NULL: only when a person says so.';
COMMENT ON COLUMN quarantined.typed_by IS 'Who typed it; empty for vendors'' files.';
COMMENT ON COLUMN quarantined.typed_note IS 'Why, in that person''s words; may be empty.';
COMMENT ON COLUMN quarantined.adjustments IS 'For adjustments: the request, in protobuf''s encoding.';
COMMENT ON COLUMN quarantined.create_time IS 'When it was stopped.';
COMMENT ON COLUMN quarantined.decide_time IS 'When it was decided or superseded; NULL while it waits.';
COMMENT ON COLUMN quarantined.decided_by IS 'Who decided; "holdfast": a cadence passed without another number. Empty: nobody.';
COMMENT ON COLUMN quarantined.decision_reason IS 'Why, in that person''s words.';
COMMENT ON COLUMN quarantined.decided_units IS 'Units to be applied for an approved count.';
COMMENT ON COLUMN quarantined.sent_units IS 'What reservation is told: units of the SKU, all its codes together. Stored before it is sent.';
COMMENT ON COLUMN quarantined.sent_effect IS 'What reservation is told of it: SET, LIMIT, UNLIMIT.';
COMMENT ON COLUMN quarantined.sent_place IS 'Orders what reservation is told of one SKU after its run: 1, 2 …; 0 for the run''s own moment.';
COMMENT ON COLUMN quarantined.outcome IS 'What reservation made of an approved one; NULL before.';
COMMENT ON COLUMN quarantined.outcome_note IS 'Why reservation did not take it; may be empty.';
COMMENT ON COLUMN quarantined.done_time IS 'When the decision was carried out; NULL before.';
COMMENT ON COLUMN quarantined.attempts IS 'How many attempts in a row to carry it out broke off.';
COMMENT ON COLUMN quarantined.next_attempt_time IS 'Not carried out before this time.';

COMMENT ON TABLE request IS 'Mutations that were answered OK, written in the transaction of their effect; for SubmitAdjustments what the guards said, written before anything is sent. A refused request leaves nothing here.';
COMMENT ON COLUMN request.answer IS 'For CreateConnection and its like the response message in protobuf''s encoding; for files and decisions the id of the run or the quarantined number, 16 bytes; for SubmitAdjustments the same, or nothing if no guard stopped it.';

GRANT UPDATE (holds_in_row) ON connection TO holdfast_vendor_sync;
GRANT UPDATE (warnings, approved, decide_time, decided_by, decision_reason, quarantined, file_rows, file_top_permille) ON run TO holdfast_vendor_sync;
GRANT UPDATE (quantity) ON feed_state TO holdfast_vendor_sync;
GRANT SELECT, INSERT, DELETE, UPDATE (
    state, decide_time, decided_by, decision_reason, decided_units, sent_units, sent_effect, sent_place, outcome, outcome_note, done_time, attempts,
    next_attempt_time
) ON quarantined TO holdfast_vendor_sync;
