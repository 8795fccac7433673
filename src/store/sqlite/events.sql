-- Events by time of receipt, the newest or the oldest first, from after the cursor on, without their payloads. SQLite plans a statement
-- without its values, so the parts of the filter that have an index have statements of their own.
select <event>, null as payload
  from events
 where (?1 is null or status = ?1)
   and (?2 is null or event_type = ?2)
   and (?9 is null or error_code = ?9)
   and received_at >= <from>
   and received_at <= <to>
   and (?6 is null or (received_at, event_id) <past> (?6, ?7))
 order by received_at <direction>, event_id <direction>
 limit ?8
