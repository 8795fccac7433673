-- The payloads of the events of a row that belongs to a user, but for failed ones: failed_payloads.rs says why.
update events
   set payload = null
 where clerk_id = ?1
   and payload is not null
   and status <> 'failed'
   and event_type not in (<bare_deletes>)
