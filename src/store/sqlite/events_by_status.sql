-- Events of a status that few have, by the index that holds only such; otherwise as events.sql. The condition of the index stands here because
-- SQLite uses a partial index only where it can see it.
select <event>, null as payload
  from events
 where status <> 'applied'
   and status = ?1
   and (?2 is null or event_type = ?2)
   and (?9 is null or error_code = ?9)
   and received_at >= coalesce(?4, 0)
   -- One bound, so that the index leads to where the page begins: before the end that was asked for (times are whole
   -- milliseconds), and not after where the page before ended.
   and received_at <= min(coalesce(?5 - 1, 9223372036854775807), coalesce(?6, 9223372036854775807))
   and (?6 is null or (received_at, event_id) < (?6, ?7))
 order by received_at desc, event_id desc
 limit ?8
