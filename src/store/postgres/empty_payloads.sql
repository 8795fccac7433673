-- Payloads of events whose user is erased, and that were written in the same instant as the erasure: neither saw the other. That
-- of a delete holds nothing personal, and may still be replayed.
with emptied as (
    update clerk.events
       set payload = null, status = case when status = 'failed' then 'discarded' else status end
     where event_id in (
               select event_id
                 from clerk.events as line
                where payload is not null
                  and ([[true or ]]status <> 'failed')
                  and event_type not in (<bare_deletes>)
                  and exists (select from clerk.<table> as gone
                               where gone.clerk_id = line.clerk_id and gone.erased_at is not null)
                limit $1
                  for update skip locked
           )
    returning 1
)
select count(*) as payloads from emptied
