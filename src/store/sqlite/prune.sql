-- The oldest lines, but never a failed one: that waits for a person.
delete from events
 where event_id in (
           select event_id
             from events
            where received_at < ?1
              and status <> 'failed'
            order by received_at
            limit ?2
       )
