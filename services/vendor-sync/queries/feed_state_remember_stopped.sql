-- Keeps codes whose first number was stopped, with what was known of them: $1 run. A code that said something before keeps that.
INSERT INTO feed_state (connection, vendor_sku, sku, units, as_of, sequence)
SELECT connection, vendor_sku, sku, old_units, as_of, sequence FROM quarantined WHERE run_id = $1
ON CONFLICT (connection, vendor_sku) DO NOTHING
