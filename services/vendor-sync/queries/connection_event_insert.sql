-- Notes a change of a connection: $1 the event, $2 code, $3 action, $4 who, $5 why.
INSERT INTO connection_event (event_id, connection, action, actor, reason) VALUES ($1, $2, $3, $4, $5)
