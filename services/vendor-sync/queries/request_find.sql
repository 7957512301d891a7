-- What a request key was answered: $1 key. No row: never, or forgotten.
SELECT kind, payload_hash, answer FROM request WHERE request_id = $1
