-- Begins an attempt: $1 attempt, $2 the caller's key.
INSERT INTO import (import_id, request_id) VALUES ($1, $2)
