-- The next $2 SKUs after $1, whether they stand in stock, in the ledger or only in allocations. Each step is one descent of an index.
WITH RECURSIVE
in_ledger AS (
    (SELECT sku, 1 AS n FROM ledger WHERE sku > $1 ORDER BY sku LIMIT 1)
    UNION ALL
    SELECT (SELECT l.sku FROM ledger l WHERE l.sku > k.sku ORDER BY l.sku LIMIT 1), k.n + 1 FROM in_ledger k WHERE k.sku IS NOT NULL AND k.n < $2),
in_allocation AS (
    (SELECT sku, 1 AS n FROM allocation WHERE sku > $1 ORDER BY sku LIMIT 1)
    UNION ALL
    SELECT (SELECT a.sku FROM allocation a WHERE a.sku > k.sku ORDER BY a.sku LIMIT 1), k.n + 1 FROM in_allocation k WHERE k.sku IS NOT NULL AND k.n < $2)
SELECT n.sku
FROM (SELECT sku FROM in_ledger UNION SELECT sku FROM in_allocation UNION (SELECT sku FROM stock WHERE sku > $1 ORDER BY sku LIMIT $2)) n
WHERE n.sku IS NOT NULL ORDER BY n.sku LIMIT $2
