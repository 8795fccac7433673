-- Events whose ID begins with a text: those from it on, and before the first one behind all that begin so.
select <event>, null as payload
  from events
 where event_id >= ?1
   and event_id < ?2
 order by event_id
 limit ?3
