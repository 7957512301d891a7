-- Keeps an answer, in the transaction of its effect: $1 key, $2 kind, $3 payload hash, $4 answer. No row affected: another request took the key first.
INSERT INTO request (request_id, kind, payload_hash, answer) VALUES ($1, $2, $3, $4)
ON CONFLICT (request_id) DO NOTHING
