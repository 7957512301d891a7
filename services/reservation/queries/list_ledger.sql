-- A page of SKU $1's ledger, newest first, only of location $2 unless that is empty, after ($3 micros, $4 location, $5 version), at most $6 entries, from $7 to $8
-- micros, both included.
SELECT jsonb_build_object(
    'sku', g.sku, 'location', g.location, 'version', g.version, 'at', micros(g.at), 'cause', g.cause, 'cause_id', g.cause_id,
    'on_hand', g.on_hand, 'held', g.held, 'committed', g.committed, 'safety', g.safety, 'backorder', g.backorder,
    'unsellable', g.unsellable, 'condition', g.condition, 'reason', g.reason, 'actor', g.actor, 'note', g.note,
    'freshness', g.freshness, 'cap', g.cap, 'archived', g.archived, 'paused', g.paused, 'trace', g.trace)
FROM ledger g
WHERE g.sku = $1 AND ($2 = '' OR g.location = $2) AND (g.at, g.location, g.version) < (from_micros($3), $4 COLLATE "C", $5)
  AND g.at BETWEEN from_micros($7) AND from_micros($8)
ORDER BY g.at DESC, g.location DESC, g.version DESC LIMIT $6
