-- How many events of a user are kept, and how many of them with a payload.
select count(*) as events, count(*) filter (where payload is not null) as payloads
  from events
 where clerk_id = ?1
