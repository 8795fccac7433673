-- Events by time of receipt, newest first, from after the cursor on, without their payloads. A part of the filter that is null
-- is not asked for.
select event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, deliveries, attempts,
       error, error_code, null as payload
  from events
 where (?1 is null or status = ?1)
   and (?2 is null or event_type = ?2)
   and (?3 is null or clerk_id = ?3)
   and (?4 is null or received_at >= ?4)
   and (?5 is null or received_at < ?5)
   -- Where the page before ended.
   and (?6 is null or (received_at, event_id) < (?6, ?7))
 order by received_at desc, event_id desc
 limit ?8
