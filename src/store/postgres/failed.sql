-- The failed lines by code, the oldest first and so many at most.
select code, count(*) as lines, min(received_at) as oldest
  from (
           select coalesce(error_code, '') as code, received_at
             from clerk.events
            where status = 'failed'
            order by received_at, event_id
            limit $1::bigint
       ) as failed
 group by code
