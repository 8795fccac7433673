-- Events of a type that few have, by the index that holds only such; otherwise as events.sql.
select <event>, null as payload
  from events
 where event_type <> 'user.updated'
   and event_type = ?2
   and (?1 is null or status = ?1)
   and (?9 is null or error_code = ?9)
   and received_at >= <from>
   and received_at <= <to>
   and (?6 is null or (received_at, event_id) <past> (?6, ?7))
 order by received_at <direction>, event_id <direction>
 limit ?8
