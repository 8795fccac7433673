-- One user's row, if there is one, and the payloads of the user's events; and who erased them. A row that is deleted bears erased_at from now on; another one is filled
-- again by the next event.
with before as materialized (
    -- Locked: a write that is under way ends first, and what it filled is erased and named too.
    select clerk_id<before_columns> from clerk.<table> where clerk_id = $1 for update
),
erased as (
    update clerk.<table>
       set {{ column = null }},
        erased_at = case when deleted_at is not null then coalesce(erased_at, now()) end,
        synced_at = now()
     where clerk_id in (select clerk_id from before)
    returning clerk_id
),
<erased_recorded>
emptied as (
    update clerk.events
       set payload = null, status = case when status = 'failed' then 'discarded' else status end
     where clerk_id = $1
       and payload is not null
       -- It holds nothing personal, and may still be replayed.
       and event_type not in (<bare_deletes>)
    returning 1
),
done as (
    select (select count(*) from emptied) as count
     where exists (select from erased) or exists (select from emptied)
),
recorded as (<recorded>)
select (select count(*) from erased) as users, (select count(*) from emptied) as payloads, <changes> as changes
