-- Drops all offers of SKUs, in the transaction that took a higher version of them: $1 SKUs.
DELETE FROM offer WHERE sku = ANY($1::text[])
