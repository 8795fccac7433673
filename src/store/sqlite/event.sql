-- One event, with its payload.
select <event>, payload
  from events
 where event_id = ?1
