-- How many other processes apply events: those with a sign of life in the last 40 s. Each gives one every 16 s at least.
select count(*) as workers from clerk.processes
 where role <> 'receiver' and process_id <> $1 and seen_at > now() - interval '40 seconds'
