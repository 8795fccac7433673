-- Erases those of these rows that are deleted, and the payloads of their events.
with erased as (
    update clerk.<table>
       set {{ column = null }},
        erased_at = now(),
        synced_at = now()
     where clerk_id in (
               select clerk_id
                 from clerk.<table>
                where clerk_id = any ($1::text[])
                  and deleted_at is not null
                  and erased_at is null
                order by clerk_id
                  -- Two workers that do this do not wait for each other.
                  for update skip locked
           )
    returning clerk_id
),
emptied as (
    update clerk.events
       set payload = null, status = case when status = 'failed' then 'discarded' else status end
     where clerk_id in (select clerk_id from erased)
       and payload is not null
       and event_type not in (<bare_deletes>)
)
select count(*) as rows from erased
