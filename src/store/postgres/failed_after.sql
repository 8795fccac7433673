-- The failed event that was received next after another one.
select event_id
  from clerk.events
 where status = 'failed'
   and (received_at, event_id) > ($1::timestamptz, $2::text collate "C")
 order by received_at, event_id
 limit 1
