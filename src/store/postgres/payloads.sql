-- Payloads by the IDs of their events; none that is longer than so many bytes.
select event_id, event_type, sent_at, received_at, payload
  from clerk.events
 where event_id = any ($1::text[])
   and octet_length(payload) <= $2::bigint
