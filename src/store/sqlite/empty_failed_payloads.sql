-- The payloads of failed events of this table that hold one of these texts: an event that failed may have no row.
update events
   set payload = null, status = 'discarded'
 where status = 'failed'
   and event_type in (<events>)
   and event_type not in (<bare_deletes>)
   and payload is not null
   and exists (select 1 from json_each(?1) as mention where instr(payload, cast(mention.value as blob)) > 0)
