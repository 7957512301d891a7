-- The run of this content: $1 connection, $2 SHA-256, $3 as_of.
SELECT run_id FROM run WHERE connection = $1 AND content_sha256 = $2 AND as_of = $3
