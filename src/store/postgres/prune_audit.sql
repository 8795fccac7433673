-- Deletes the oldest rows of the audit, but never those that prove an erasure.
with gone as (
    delete from clerk.audit
     where id in (
               select id
                 from clerk.audit
                where id < $1::text
                  and action not in ('erased', 'forgotten')
                order by id
                limit $2
                  for update skip locked
           )
    returning 1
)
select count(*) as rows from gone
