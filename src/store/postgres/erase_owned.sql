-- Erases what this table holds of users: $1 are their IDs, $2 their e-mail addresses, $3 says whether for good; and the payloads of the
-- events of those rows, but for failed ones: failed_payloads.rs says why.
with before as materialized (
    select clerk_id<before_columns>
      from clerk.<table>
     where <owned>
       and erased_at is null
     -- As a write locks them.
     order by clerk_id
       for update
),
erased as (
    update clerk.<table>
       set <nothing_personal>,
        erased_at = case when $3::boolean then now() end,
        synced_at = now()
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
