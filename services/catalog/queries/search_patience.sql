-- Says how much like a query a text has to be, for this transaction: $1 a share of their trigrams.
SELECT set_config('pg_trgm.word_similarity_threshold', $1, true)
