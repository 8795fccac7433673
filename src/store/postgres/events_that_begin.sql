-- Events whose ID begins with a text: those from it on, and before the first one behind all that begin so.
select <event>, null::bytea as payload
  from clerk.events
 where event_id >= $1::text
   and event_id < $2::text
 order by event_id
 limit $3::bigint
