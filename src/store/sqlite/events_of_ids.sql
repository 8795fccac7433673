-- Events by their IDs, of which there are few; otherwise as events.sql.
select <event>, null as payload
  from events
 where event_id in (select value from json_each(?10))
   and (?1 is null or status = ?1)
   and (?2 is null or event_type = ?2)
   and (?3 is null or clerk_id = ?3)
   and (?9 is null or error_code = ?9)
   and +received_at >= coalesce(?4, 0)
   and +received_at <= min(coalesce(?5 - 1, 9223372036854775807), coalesce(?6, 9223372036854775807))
   and (?6 is null or (+received_at, event_id) < (?6, ?7))
 order by +received_at desc, event_id desc
 limit ?8
