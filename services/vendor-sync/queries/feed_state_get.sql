-- What the codes of a connection said last: $1 connection.
SELECT vendor_sku, sku, units FROM feed_state WHERE connection = $1
