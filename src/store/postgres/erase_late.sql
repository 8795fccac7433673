-- Of the rows with these IDs, erases those whose user was erased before they were written, and the payloads of their events.
with before as materialized (
    select clerk_id<before_columns>
      from clerk.<table>
     where clerk_id = any ($1::text[])
       and erased_at is null
       and <owner_is_erased>
     -- As a write locks them.
     order by clerk_id
       for update
),
erased as (
    update clerk.<table>
       set <nothing_personal>, erased_at = now(), synced_at = now()
     where clerk_id in (select clerk_id from before)
    returning clerk_id
),
<erased_recorded>
emptied as (
    update clerk.events
       set payload = null
     where clerk_id in (select clerk_id from erased)
       and payload is not null
       and status <> 'failed'
       and event_type not in (<bare_deletes>)
    returning 1
)
select (select count(*) from erased) as rows, (select count(*) from emptied) as payloads, <changes> as changes
