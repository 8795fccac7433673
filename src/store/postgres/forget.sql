-- Deletes the row of one user and every event of that user, and records who did.
with users as (
    delete from clerk.<table> where clerk_id = $1 returning 1
),
events as (
    delete from clerk.events where clerk_id = $1 returning 1
),
done as (
    select (select count(*) from events) as count
     where exists (select from users) or exists (select from events)
),
recorded as (<recorded>)
select (select count(*) from users) as users, (select count(*) from events) as events
