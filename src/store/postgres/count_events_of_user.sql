-- How many events of a user are kept, and how many payloads an erasure would empty: not that of a delete.
select count(*) as events, count(*) filter (where payload is not null and event_type not in (<bare_deletes>)) as payloads
  from clerk.events
 where clerk_id = $1
