-- A process that applies events and does not record changes, or does not say so: with a sign of life in the last 40 s.
select process_id
  from clerk.processes
 where role <> 'receiver'
   and seen_at > now() - interval '40 seconds'
   and change_feed is not true
 order by process_id
 limit 1
