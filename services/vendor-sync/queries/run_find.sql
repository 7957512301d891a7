-- The run of this content: $1 connection, $2 SHA-256, $3 as_of, $4 location or NULL.
SELECT run_id FROM run WHERE connection = $1 AND content_sha256 = $2 AND as_of = $3 AND coalesce(location, '') = coalesce($4::text, '')
