-- One event, with its payload, its attempts and who acted on it.
select <event>, payload, attempts_log, audit
  from events
 where event_id = ?1
