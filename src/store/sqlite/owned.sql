-- How many rows of this table hold data of users (?1 are their IDs, ?2 their e-mail addresses in lower case), and how many payloads go with
-- it (?3 are the texts that those hold).
with owned as (
    select clerk_id
      from <table>
     where <owned>
       and erased_at is null
)
select (select count(*) from owned) as rows,
       (
           select count(*)
             from events
            where event_id in (
                      select event_id from events where clerk_id in (select clerk_id from owned)
                      union all
                      select event_id
                        from events
                       where status = 'failed'
                         and event_type in (<events>)
                         and exists (select 1 from json_each(?3) as mention where instr(payload, cast(mention.value as blob)) > 0)
                  )
              and payload is not null
              and event_type not in (<bare_deletes>)
       ) as payloads
