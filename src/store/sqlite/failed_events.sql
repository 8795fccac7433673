-- Failed events of this table whose payloads are kept.
select event_id
  from events
 where status = 'failed'
   and event_type in (<events>)
   and event_type not in (<bare_deletes>)
   and payload is not null
