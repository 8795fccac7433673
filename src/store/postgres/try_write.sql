-- A write that changes nothing: whether there is room, on the disk of the log too, shows at that alone.
with of_users as (
    update clerk.users
       set synced_at = synced_at
     where clerk_id = (select clerk_id from clerk.users order by clerk_id limit 1)
    returning clerk_id
),
of_events as (
    update clerk.events
       set deliveries = deliveries
     where event_id = (select event_id from clerk.events order by received_at desc limit 1)
    returning event_id
)
select (select count(*) from of_users) + (select count(*) from of_events) as rows
