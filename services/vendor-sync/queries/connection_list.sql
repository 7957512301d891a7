-- A page of connections: $1 the last code of the page before, $2 rows.
SELECT code, vendor, location, mode, meaning, csv_delimiter, csv_header, csv_key_column, csv_quantity_column, create_time,
       accepted_as_of, accepted_sequence, clock_timestamp() AS present_time
FROM connection
WHERE code > $1
ORDER BY code
LIMIT $2
