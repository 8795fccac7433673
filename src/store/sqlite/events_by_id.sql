-- Events by their IDs, each with its payload unless that has more than so many bytes.
select event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, deliveries, attempts,
       error, error_code, superseded_by,
       case when length(payload) <= ?2 then payload end as payload
  from events
 where event_id in (select value from json_each(?1))
