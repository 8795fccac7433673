-- Erases those of these rows that are deleted, and the payloads of their events.
with before as materialized (
    select clerk_id<before_columns>
      from clerk.<table>
     where clerk_id = any ($1::text[])
       and deleted_at is not null
       and erased_at is null
     order by clerk_id
       -- Two workers that do this do not wait for each other.
       for update skip locked
),
erased as (
    update clerk.<table>
       set {{ column = null }},
        erased_at = now(),
        synced_at = now()
     where clerk_id in (select clerk_id from before)
    returning clerk_id
),
<erased_recorded>
emptied as (
    update clerk.events
       set payload = null, status = case when status = 'failed' then 'discarded' else status end
     where clerk_id in (select clerk_id from erased)
       and payload is not null
       and event_type not in (<bare_deletes>)
)
select (select count(*) from erased) as rows, <changes> as changes
