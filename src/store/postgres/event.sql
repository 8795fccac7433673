-- One event, with its payload.
select <event>, payload
  from clerk.events
 where event_id = $1
