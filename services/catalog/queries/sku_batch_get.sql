-- SKUs by their codes: $1 codes, each once. In the order asked for.
SELECT sku.code, sku.name, sku.gtin, sku.attributes, sku.policy, sku.archive_time, sku.version, sku.create_time, sku.update_time
FROM unnest($1::text[]) WITH ORDINALITY AS asked (code, position)
JOIN sku ON sku.code = asked.code
ORDER BY asked.position
