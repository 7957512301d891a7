-- How far a destination is: $1 destination. Answers its cursor and the seconds since it moved.
SELECT cursor, extract(epoch FROM clock_timestamp() - update_time)::double precision AS seconds FROM relay WHERE destination = $1
