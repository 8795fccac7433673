-- Erases what this table holds of users: $1 are their IDs, $2 their e-mail addresses, $3 says whether for good; and the payloads of the
-- events of those rows. An event that failed has no row: one whose payload holds an ID or an address, of $4, keeps none either.
with erased as (
    update clerk.<table>
       set <nothing_personal>,
        erased_at = case when $3::boolean then now() end,
        synced_at = now()
     where clerk_id in (
               select clerk_id
                 from clerk.<table>
                where <owned>
                  and erased_at is null
                -- As a write locks them.
                order by clerk_id
                  for update
           )
    returning clerk_id
),
emptied as (
    update clerk.events
       set payload = null, status = case when status = 'failed' then 'discarded' else status end
     where event_id in (
               select event_id from clerk.events where clerk_id in (select clerk_id from erased)
               union all
               select event_id
                 from clerk.events
                where status = 'failed'
                  and event_type in (<events>)
                  and exists (select from unnest($4::text[]) as mention where position(convert_to(mention, 'UTF8') in payload) > 0)
           )
       and payload is not null
       and event_type not in (<bare_deletes>)
    returning 1
)
select (select count(*) from erased) as rows, (select count(*) from emptied) as payloads
