-- Events by their IDs, each with its payload unless that has more than so many bytes.
select <event>,
       case when length(payload) <= ?2 then payload end as payload
  from events
 where event_id in (select value from json_each(?1))
