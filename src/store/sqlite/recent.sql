-- What was received since then, the newest first and so many at most, by bucket, status and lag; see postgres/recent.sql.
select bucket, status,
       lag - lag % case when lag < 100 then 1 when lag < 1000 then 10 when lag < 10000 then 100 when lag < 100000 then 1000
                        when lag < 1000000 then 10000 else 100000 end as lag_ms,
       count(*) as lines
  from (
           select received_at - received_at % ?3 as bucket, status,
                  case when attempts = 1 and status in ('applied', 'stale') then max(0, processed_at - received_at) end as lag
             from events
            where received_at >= ?1
            order by received_at desc
            limit ?2
       )
 group by bucket, status, lag_ms
