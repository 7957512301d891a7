-- A connection: $1 code. With it, Postgres's clock, by which an as_of is judged.
SELECT code, vendor, location, mode, meaning, csv_delimiter, csv_header, csv_key_column, csv_quantity_column, json_rows_path, json_key_field,
       json_quantity_field, json_lines, cadence_micros, drop_path, drop_pattern, drop_done_suffix, pull_url, pull_interval_micros, pull_credential,
       apply_first_file, clock_margin_micros, reflection_lag_micros, revision, state, state_reason, fetch_status, fetch_time, create_time, accepted_as_of, accepted_sequence,
       clock_timestamp() AS present_time
FROM connection
WHERE code = $1
