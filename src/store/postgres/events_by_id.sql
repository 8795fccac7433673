-- Events by their IDs, each with its payload unless that has more than so many bytes.
select <event>,
       case when octet_length(payload) <= $2::bigint then payload end as payload
  from clerk.events
 where event_id = any ($1::text[])
