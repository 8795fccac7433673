-- Payloads of events whose user is erased. That of a delete holds nothing personal, and may still be replayed.
update events
   set payload = null, status = case when status = 'failed' then 'discarded' else status end
 where event_id in (
           select event_id
             from events as line
            where payload is not null
              and ([[true or ]]status <> 'failed')
              and event_type not in (<bare_deletes>)
              and exists (select 1 from <table> as gone where gone.clerk_id = line.clerk_id and gone.erased_at is not null)
            limit ?1
       )
