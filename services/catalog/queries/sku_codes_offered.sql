-- The codes after one of SKUs of which vendor-sync may know: $1 the code, $2 rows.
SELECT code FROM (
    (SELECT DISTINCT sku AS code FROM offer WHERE sku > $1 ORDER BY sku LIMIT $2)
    UNION
    (SELECT code FROM sku WHERE lost_offers AND code > $1 ORDER BY code LIMIT $2)
) AS offered
ORDER BY code LIMIT $2
