-- A connection: $1 code. With it, Postgres's clock, by which an as_of is judged.
SELECT code, vendor, location, mode, meaning, csv_delimiter, csv_header, csv_key_column, csv_quantity_column, create_time,
       accepted_as_of, accepted_sequence, clock_timestamp() AS present_time
FROM connection
WHERE code = $1
