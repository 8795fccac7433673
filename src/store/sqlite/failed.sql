-- The failed lines by code, the oldest first and so many at most.
select code, count(*) as lines, min(received_at) as oldest
  from (
           select coalesce(error_code, '') as code, received_at
             from events
            where status <> 'applied'
              and status = 'failed'
            order by received_at, event_id
            limit ?1
       )
 group by code
