-- Events by their IDs, each with its payload unless that has more than so many bytes.
select event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, deliveries, attempts,
       error, error_code, superseded_by,
       case when octet_length(payload) <= $2::bigint then payload end as payload
  from clerk.events
 where event_id = any ($1::text[])
