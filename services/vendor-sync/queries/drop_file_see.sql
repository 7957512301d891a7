-- Notes files that were not known like this: $1 code, $2 names, $3 sizes, $4 times.
INSERT INTO drop_file AS known (connection, file_name, size_bytes, modify_time, seen_time)
SELECT $1, seen.file_name, seen.size_bytes, seen.modify_time, clock_timestamp()
FROM unnest($2::text[], $3::bigint[], $4::timestamptz[]) AS seen (file_name, size_bytes, modify_time)
ON CONFLICT (connection, file_name) DO UPDATE
SET size_bytes = excluded.size_bytes, modify_time = excluded.modify_time, seen_time = excluded.seen_time, run_id = NULL
WHERE (known.size_bytes, known.modify_time) <> (excluded.size_bytes, excluded.modify_time)
