-- Counts a change of the offers of SKUs that sku_lock_many.sql locked: $1 codes, $2 whether offers were removed. A trigger logs the change.
UPDATE sku SET version = version + 1, update_time = now(), lost_offers = lost_offers OR $2::boolean
WHERE code = ANY ($1::text[])
