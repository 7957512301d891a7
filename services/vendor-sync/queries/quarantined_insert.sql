-- Stores numbers that guards stopped: $1 run, $2 ids, $3 lines, $4 codes, $5 SKUs, $6 quantities as they stand, $7 pack sizes, $8 units before, $9 units now,
-- $10 rules (separated by spaces), $11 explanations, $12 exposures, $13 whether a limit goes with it, $14 whether it is believed by itself after a cadence.
INSERT INTO quarantined
    (quarantine_id, kind, connection, run_id, line, vendor_sku, sku, location, raw_quantity, pack_size, old_units, new_units, rules, explanation, exposure,
     as_of, sequence, is_limited, believe_time, typed_by, typed_note)
SELECT stopped.id, 'COUNT', run.connection, run.run_id, stopped.line, stopped.vendor_sku, stopped.sku, coalesce(run.location, connection.location),
       stopped.raw_quantity, stopped.pack_size, stopped.old_units, stopped.new_units, string_to_array(stopped.rules, ' '), stopped.explanation,
       stopped.exposure, run.as_of, run.sequence, stopped.is_limited,
       -- The same number said again is no new one: it is believed when it would have been.
       CASE WHEN stopped.is_believed THEN least(clock_timestamp() + connection.cadence_micros * interval '1 microsecond', (
           SELECT min(earlier.believe_time) FROM quarantined AS earlier
           WHERE earlier.connection = run.connection AND earlier.location = coalesce(run.location, connection.location)
             AND earlier.vendor_sku = stopped.vendor_sku AND earlier.sku = stopped.sku AND earlier.new_units = stopped.new_units
             AND earlier.state = 'PENDING')) END, run.typed_by, run.typed_note
FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[],
            $12::bigint[], $13::boolean[], $14::boolean[])
     AS stopped (id, line, vendor_sku, sku, raw_quantity, pack_size, old_units, new_units, rules, explanation, exposure, is_limited, is_believed)
JOIN run ON run.run_id = $1
JOIN connection ON connection.code = run.connection
