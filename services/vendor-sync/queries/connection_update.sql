-- Changes what people say of a connection, if its revision is still $2: $1 code, $3 and $4 nothing that changes (vendor and location are for good), then
-- as in connection_insert.sql, one place later. No row: it was changed meanwhile. Another source is looked at from the beginning, and so is the
-- same one if files look otherwise: what was refused may be right now.
UPDATE connection
SET mode = $5, meaning = $6, csv_delimiter = $7, csv_header = $8, csv_key_column = $9, csv_quantity_column = $10, json_rows_path = $11,
    json_key_field = $12, json_quantity_field = $13, json_lines = $14, cadence_micros = $15, drop_path = $16, drop_pattern = $17,
    drop_done_suffix = $18, pull_url = $19, pull_interval_micros = $20, pull_credential = $21, apply_first_file = $22, clock_margin_micros = $23, reflection_lag_micros = $24, revision = revision + 1,
    fetch_due = CASE WHEN num_nonnulls($16::text, $19::text) > 0 THEN clock_timestamp() END,
    fetch_failures = 0,
    pull_etag = CASE WHEN pull_url = $19 AND ROW (csv_delimiter, csv_header, csv_key_column, csv_quantity_column, json_rows_path, json_key_field,
        json_quantity_field, json_lines) IS NOT DISTINCT FROM ROW ($7, $8, $9, $10, $11, $12, $13, $14) THEN pull_etag END,
    pull_last_modified = CASE WHEN pull_url = $19 AND ROW (csv_delimiter, csv_header, csv_key_column, csv_quantity_column, json_rows_path, json_key_field,
        json_quantity_field, json_lines) IS NOT DISTINCT FROM ROW ($7, $8, $9, $10, $11, $12, $13, $14) THEN pull_last_modified END
WHERE code = $1 AND revision = $2 AND vendor = $3 AND location = $4
RETURNING code
