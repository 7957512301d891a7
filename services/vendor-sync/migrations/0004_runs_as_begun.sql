-- A run ends as it began, whatever becomes of its connection meanwhile: a request that is repeated must be the same request.

ALTER TABLE run
    ADD COLUMN mode text,
    ADD COLUMN meaning text,
    ADD CONSTRAINT run_mode_known CHECK (mode IN ('FULL', 'PARTIAL')),
    ADD CONSTRAINT run_meaning_known CHECK (meaning IN ('ON_HAND', 'AVAILABLE')),
    ADD CONSTRAINT run_begun_whole CHECK ((mode IS NULL) = (meaning IS NULL));
COMMENT ON COLUMN run.mode IS 'The connection''s mode when the run was first worked on; NULL before, and in runs that were finished before there was this column.';
COMMENT ON COLUMN run.meaning IS 'The connection''s meaning then; NULL like mode.';

GRANT UPDATE (mode, meaning) ON run TO holdfast_vendor_sync;
