-- Lets the transaction that applies an import wait longer for locks than others do: $1 milliseconds for a lock, $2 for a statement with its waiting.
SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)
