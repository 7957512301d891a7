-- Which of the codes that offers refer to do not exist: $1 vendors, $2 locations, $3 SKUs, $4 at most so many.
SELECT kind, code FROM (
    SELECT 'vendor' AS kind, code FROM unnest($1::text[]) AS asked (code)
    WHERE NOT EXISTS (SELECT FROM vendor WHERE vendor.code = asked.code)
    UNION ALL
    SELECT 'location', code FROM unnest($2::text[]) AS asked (code)
    WHERE NOT EXISTS (SELECT FROM location WHERE location.code = asked.code)
    UNION ALL
    SELECT 'sku', code FROM unnest($3::text[]) AS asked (code)
    WHERE NOT EXISTS (SELECT FROM sku WHERE sku.code = asked.code)
) AS unknown
LIMIT $4
