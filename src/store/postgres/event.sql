-- One event, with its payload, its attempts and who acted on it.
select <event>, payload, attempts_log::text as attempts_log, audit::text as audit
  from clerk.events
 where event_id = $1
