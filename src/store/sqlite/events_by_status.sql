-- Events of a status that few have, by the index that holds only such; otherwise as events.sql. The condition of the index stands here because
-- SQLite uses a partial index only where it can see it.
select <event>, null as payload
  from events
 where status <> 'applied'
   and status = ?1
   and (?2 is null or event_type = ?2)
   and (?9 is null or error_code = ?9)
   and received_at >= <from>
   and received_at <= <to>
   and (?6 is null or (received_at, event_id) <past> (?6, ?7))
 order by received_at <direction>, event_id <direction>
 limit ?8
