-- Records signs of life.
insert into processes (process_id, role, version, host, pid, started_at, seen_at, change_feed)
select value ->> 'process_id', value ->> 'role', value ->> 'version', value ->> 'host', value ->> 'pid', value ->> 'started_at_ms',
       cast(unixepoch('subsec') * 1000 as integer) - (value ->> 'age_ms'), value ->> 'change_feed'
  from json_each(?1)
 where true
    on conflict (process_id) do update set seen_at = max(processes.seen_at, excluded.seen_at), change_feed = excluded.change_feed
