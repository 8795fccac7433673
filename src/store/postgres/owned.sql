-- How many rows of this table hold data of users, and how many payloads go with it; the parameters are those of erase_owned.sql.
with owned as (
    select clerk_id
      from clerk.<table>
     where <owned>
       and erased_at is null
)
select (select count(*) from owned) as rows,
       (
           select count(*)
             from clerk.events
            where event_id in (
                      select event_id from clerk.events where clerk_id in (select clerk_id from owned)
                      union all
                      select event_id
                        from clerk.events
                       where status = 'failed'
                         and event_type in (<events>)
                         and exists (select from unnest($3::text[]) as mention where position(convert_to(mention, 'UTF8') in payload) > 0)
                  )
              and payload is not null
              and event_type not in (<bare_deletes>)
       ) as payloads
