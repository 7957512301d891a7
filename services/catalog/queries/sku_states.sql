-- SKUs with their offers, seen in one look, so that no version goes with another one's offers: $1 codes, each once. In the order asked for.
SELECT sku.code, sku.name, sku.gtin, sku.attributes, sku.policy, sku.archive_time, sku.version, sku.create_time, sku.update_time, offers.offers
FROM unnest($1::text[]) WITH ORDINALITY AS asked (code, position)
JOIN sku ON sku.code = asked.code
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(jsonb_build_array(vendor, location, vendor_sku, pack_size, (extract(epoch FROM create_time) * 1000000)::bigint)
        ORDER BY vendor, location, vendor_sku), '[]') AS offers
    FROM offer WHERE offer.sku = sku.code
) AS offers
ORDER BY asked.position
