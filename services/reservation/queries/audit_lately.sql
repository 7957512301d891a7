-- SKUs whose ledger has grown since $1 micros, from $2 entries at most.
SELECT DISTINCT t.sku FROM (SELECT l.sku FROM ledger l WHERE l.at > from_micros($1) LIMIT $2) t
