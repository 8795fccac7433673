-- The processes, and how long ago each gave a sign of life.
select process_id, role, version, host, pid, started_at, seen_at,
       max(0, cast(unixepoch('subsec') * 1000 as integer) - seen_at) as age_ms
  from processes
 order by role, host, started_at, process_id
 limit 1000
