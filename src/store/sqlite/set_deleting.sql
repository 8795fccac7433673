-- The IDs of rows and of the events that delete them, each a JSON array in the same order.
insert into temp.deleting (clerk_id, event_id)
select row.value, event.value
  from json_each(?1) as row
  join json_each(?2) as event on event.key = row.key
 where true
    on conflict (clerk_id) do update set event_id = excluded.event_id
