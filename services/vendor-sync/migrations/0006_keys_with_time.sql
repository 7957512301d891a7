-- Keys of requests to reservation are UUIDv7 from now on: reservation refuses keys that are older than what it remembers, and needs their time for that.
-- Requests under way get a key of now. One that landed without an answer is told again under it, and its counts are STALE then: a row takes a number of one
-- moment once.
UPDATE run_batch
SET revision = revision + 1,
    request_id = (lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
                  || substr(replace(request_id::text, '-', ''), 14, 3) || '8' || substr(replace(request_id::text, '-', ''), 18))::uuid
WHERE done_time IS NULL;
COMMENT ON COLUMN run_batch.request_id IS 'The request''s key, a UUIDv7: its time is when it was made, the rest is derived from run, batch and revision.';
COMMENT ON COLUMN run_batch.revision IS 'How often it became another request: counts were taken out because reservation refused them, or its key had become too old.';
