-- Creates a connection: $1 code, $2 vendor, $3 location, $4 mode, $5 meaning, $6 delimiter, $7 header, $8 key column, $9 quantity column.
-- No row: the code is taken.
INSERT INTO connection
    (code, vendor, location, mode, meaning, csv_delimiter, csv_header, csv_key_column, csv_quantity_column)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (code) DO NOTHING
RETURNING create_time
