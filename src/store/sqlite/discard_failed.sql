-- Discards these failed events, with their payloads.
update events
   set payload = null, status = 'discarded'
 where event_id in (select value from json_each(?1))
   and status = 'failed'
