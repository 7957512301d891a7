-- SKUs whose ledger has grown since $1 micros, from its $2 newest pages' worth of entries at most, each with Postgres's clock.
SELECT DISTINCT t.sku, micros(statement_timestamp()) FROM (SELECT l.sku FROM ledger l WHERE l.at > from_micros($1) LIMIT $2) t
