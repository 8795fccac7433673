-- What was received since then, the newest first and so many at most, by bucket of so many milliseconds, status and lag. The lag, from
-- receipt to commit, is in milliseconds to two digits, so that there are few of them; that of a replay or a discard says nothing about
-- the service.
select bucket, status,
       lag - lag % case when lag < 100 then 1 when lag < 1000 then 10 when lag < 10000 then 100 when lag < 100000 then 1000
                        when lag < 1000000 then 10000 else 100000 end as lag_ms,
       count(*) as lines
  from (
           select date_bin($3::bigint * interval '1 millisecond', received_at, timestamptz 'epoch') as bucket, status,
                  case when attempts = 1 and status in ('applied', 'stale')
                       then greatest(0, floor(date_part('epoch', processed_at - received_at) * 1000)::bigint)
                  end as lag
             from clerk.events
            where received_at >= $1
            order by received_at desc
            limit $2::bigint
       ) as received
 group by bucket, status, lag_ms
