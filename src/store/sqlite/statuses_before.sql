-- The statuses of those of these events that were recorded before.
select event_id, status
  from json_each(?1)
 cross join events on event_id = value
