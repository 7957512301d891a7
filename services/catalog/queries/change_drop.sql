-- Drops the oldest changes, older than $1 seconds, at most $2, without a gap: the first that is younger stops it. Those of a later time than the present are of
-- the life of another database, whose backup this is. Keeps how far it came.
WITH oldest AS (
    SELECT xid, seq, bool_and(create_time < now() - make_interval(secs => $1::double precision)) OVER (ORDER BY xid, seq) AS old
    FROM (SELECT xid, seq, create_time FROM change ORDER BY xid, seq LIMIT $2) AS first
), dropped AS (
    DELETE FROM change USING oldest
    WHERE oldest.old AND change.xid = oldest.xid AND change.seq = oldest.seq
    RETURNING change.xid
), kept AS (
    UPDATE change_log SET dropped_xid = greatest(dropped_xid, (SELECT max(xid::text::bigint)::text::xid8 FROM dropped))
    WHERE EXISTS (SELECT FROM dropped)
)
SELECT count(*) FROM dropped
