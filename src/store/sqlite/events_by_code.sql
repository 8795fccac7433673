-- Failed events of one code, by the index that holds only such; otherwise as events.sql.
select <event>, null as payload
  from events
 where status = 'failed'
   and error_code = ?9
   and (?2 is null or event_type = ?2)
   and received_at >= <from>
   and received_at <= <to>
   and (?6 is null or (received_at, event_id) <past> (?6, ?7))
 order by received_at <direction>, event_id <direction>
 limit ?8
