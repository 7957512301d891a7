-- Locks vendors whose offers are to change, in the order of their codes: $1 codes.
SELECT code FROM vendor WHERE code = ANY ($1::text[]) ORDER BY code FOR NO KEY UPDATE
