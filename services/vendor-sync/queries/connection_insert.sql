-- Creates a connection: $1 code, $2 vendor, $3 location, $4 mode, $5 meaning; CSV: $6 delimiter, $7 header, $8 key column, $9 quantity column; JSON:
-- $10 path of the rows, $11 key field, $12 quantity field, $13 lines; $14 cadence; folder: $15 path, $16 pattern, $17 suffix; address: $18 URL,
-- $19 interval, $20 credential; $21 whether its first file is applied, $22 clock margin, $23 reflection lag. No row: the code is taken.
INSERT INTO connection
    (code, vendor, location, mode, meaning, csv_delimiter, csv_header, csv_key_column, csv_quantity_column, json_rows_path, json_key_field,
     json_quantity_field, json_lines, cadence_micros, drop_path, drop_pattern, drop_done_suffix, pull_url, pull_interval_micros, pull_credential,
     apply_first_file, clock_margin_micros, reflection_lag_micros, fetch_due)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
        CASE WHEN num_nonnulls($15::text, $18::text) > 0 THEN clock_timestamp() END)
ON CONFLICT (code) DO NOTHING
RETURNING create_time
