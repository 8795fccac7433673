-- Deletes the row of one user and every event of that user, and records who did.
with before as materialized (
    -- Locked: a write that is under way ends first.
    select clerk_id<before_columns> from clerk.<table> where clerk_id = $1 for update
),
erased as (
    delete from clerk.<table> where clerk_id in (select clerk_id from before) returning clerk_id
),
<erased_recorded>
events as (
    delete from clerk.events where clerk_id = $1 returning 1
),
done as (
    select (select count(*) from events) as count
     where exists (select from erased) or exists (select from events)
),
recorded as (<recorded>)
select (select count(*) from erased) as users, (select count(*) from events) as events, <changes> as changes
