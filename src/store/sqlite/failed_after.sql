-- The failed event that was received next after another one.
select event_id
  from events
 where status <> 'applied'
   and status = 'failed'
   and (received_at, event_id) > (?1, ?2)
 order by received_at, event_id
 limit 1
