-- Events by their IDs, of which there are few; otherwise as events.sql.
select <event>, null as payload
  from events
 where event_id in (select value from json_each(?10))
   and (?1 is null or status = ?1)
   and (?2 is null or event_type = ?2)
   and (?3 is null or clerk_id = ?3)
   and (?9 is null or error_code = ?9)
   and +received_at >= <from>
   and +received_at <= <to>
   and (?6 is null or (+received_at, event_id) <past> (?6, ?7))
 order by +received_at <direction>, event_id <direction>
 limit ?8
