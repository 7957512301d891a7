-- Takes the next number of a connection's runs, and with it the connection's lock until the end of the transaction: $1 code.
UPDATE connection SET runs = runs + 1 WHERE code = $1 RETURNING runs
