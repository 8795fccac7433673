-- Payloads by the IDs of their events; none that is longer than so many bytes.
select event_id, event_type, sent_at, received_at, payload
  from events
 where event_id in (select value from json_each(?1))
   and length(payload) <= ?2
