-- Records signs of life, and forgets the processes that gave none for a day. Times of signs are the database's own: the
-- clocks of machines differ.
with seen as (
    select process_id, role, version, host, pid, started_at_ms, age_ms, change_feed
      from jsonb_to_recordset($1::jsonb)
           as seen (process_id text, role text, version text, host text, pid bigint, started_at_ms bigint, age_ms bigint, change_feed boolean)
),
gone as (
    delete from clerk.processes
     where seen_at < now() - interval '1 day' and process_id not in (select process_id from seen)
)
insert into clerk.processes (process_id, role, version, host, pid, started_at, seen_at, change_feed)
select process_id, role, version, host, pid, to_timestamp(started_at_ms / 1000.0), now() - make_interval(secs => age_ms / 1000.0), change_feed
  from seen
 order by process_id
    on conflict (process_id) do update set seen_at = greatest(processes.seen_at, excluded.seen_at), change_feed = excluded.change_feed
