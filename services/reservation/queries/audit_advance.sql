-- Notes that $1, if the turn is its own, has looked at everything up to SKU $2; empty: the pass has ended.
UPDATE audit_turn
SET after_sku = $2,
    began_at = CASE WHEN $2 = '' OR began_at IS NULL THEN clock_timestamp() ELSE began_at END,
    last_began_at = CASE WHEN $2 = '' THEN coalesce(began_at, clock_timestamp()) ELSE last_began_at END,
    last_ended_at = CASE WHEN $2 = '' THEN clock_timestamp() ELSE last_ended_at END
WHERE holder = $1
