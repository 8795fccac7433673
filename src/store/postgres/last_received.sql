-- When the last event was received, by the index.
select max(received_at) as received_at from clerk.events
