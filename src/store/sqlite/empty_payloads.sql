-- The payloads of a user's events. That of a delete holds nothing personal, and may still be replayed.
update events
   set payload = null, status = case when status = 'failed' then 'discarded' else status end
 where clerk_id = ?1
   and payload is not null
   and event_type not in (<bare_deletes>)
