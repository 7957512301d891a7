-- Notes that a file was taken and lies there still: $1 code, $2 name, $3 size, $4 time, $5 its run.
INSERT INTO drop_file (connection, file_name, size_bytes, modify_time, seen_time, run_id)
VALUES ($1, $2, $3, $4, clock_timestamp(), $5)
ON CONFLICT (connection, file_name) DO UPDATE
SET size_bytes = excluded.size_bytes, modify_time = excluded.modify_time, run_id = excluded.run_id
