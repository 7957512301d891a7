-- Which of these SKUs have more than $2 offers, and how many: $1 SKUs, each once; at most $3 of them.
SELECT asked.sku, counted.offers
FROM unnest($1::text[]) AS asked (sku)
CROSS JOIN LATERAL (SELECT count(*) AS offers FROM offer WHERE offer.sku = asked.sku COLLATE "C") AS counted
WHERE counted.offers > $2
ORDER BY asked.sku COLLATE "C"
LIMIT $3
