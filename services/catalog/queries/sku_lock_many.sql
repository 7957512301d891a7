-- Locks SKUs whose offers are to change, in the order of their codes as every import does: $1 codes.
SELECT code FROM sku WHERE code = ANY ($1::text[]) ORDER BY code FOR NO KEY UPDATE
