-- Parks a SKU that a destination refused: $1 destination, $2 SKU, $3 version, $4 what it said.
INSERT INTO parked (destination, sku, version, problem) VALUES ($1, $2, $3, $4)
ON CONFLICT (destination, sku) DO UPDATE SET version = $3, problem = $4, create_time = now()
