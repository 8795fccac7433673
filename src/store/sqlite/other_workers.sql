-- How many other processes apply events: those with a sign of life in the last 40 s. Each gives one every 16 s at least.
select count(*) as workers from processes
 where role <> 'receiver' and process_id <> ?1 and seen_at > cast(unixepoch('subsec') * 1000 as integer) - 40000
