-- Forgets files that do not lie in a connection's folder any more: $1 code, $2 their names.
DELETE FROM drop_file WHERE connection = $1 AND file_name = ANY($2::text[])
