-- One event, with its payload.
select event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, deliveries, attempts,
       error, error_code, superseded_by, payload
  from clerk.events
 where event_id = $1
