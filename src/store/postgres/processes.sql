-- The processes, and how long ago each gave a sign of life, by the clock of the database.
select process_id, role, version, host, pid, started_at, seen_at,
       greatest(0, extract(epoch from now() - seen_at) * 1000)::bigint as age_ms
  from clerk.processes
 order by role, host, started_at, process_id
 limit 1000
