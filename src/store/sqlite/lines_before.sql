-- Which of these events were recorded before, and what became of them.
select event_id, status
  from json_each(?1)
 cross join events on event_id = value
