-- A page of SKUs: $1 the last code of the page before, $2 the least code wanted, $3 the least code past those wanted or NULL, $4 archived ones only, sold ones
-- only (false) or NULL for both, $5 GTIN or NULL, $6 attributes that they have or NULL, $7 a vendor that offers them or NULL, $8 changed since or NULL, $9 only
-- those with a policy, $10 rows.
SELECT code, name, gtin, attributes, policy, archive_time, version, create_time, update_time
FROM sku
WHERE code > $1 AND code >= $2 AND ($3::text IS NULL OR code < $3)
    AND ($4::boolean IS NULL OR (archive_time IS NOT NULL) = $4)
    AND ($5::text IS NULL OR gtin COLLATE "C" = $5)
    AND ($6::jsonb IS NULL OR attributes @> $6)
    AND ($7::text IS NULL OR EXISTS (SELECT FROM offer WHERE offer.sku = sku.code AND offer.vendor = $7))
    AND ($8::timestamptz IS NULL OR update_time >= $8)
    AND (NOT $9::boolean OR policy <> '{}')
ORDER BY code
LIMIT $10
