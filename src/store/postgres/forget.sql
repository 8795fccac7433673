-- Deletes the row of one user and every event of that user.
with users as (
    delete from clerk.<table> where clerk_id = $1 returning 1
),
events as (
    delete from clerk.events where clerk_id = $1 returning 1
)
select (select count(*) from users) as users, (select count(*) from events) as events
