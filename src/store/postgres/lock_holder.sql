-- The session that holds this advisory lock: the two halves of its number are apart in pg_locks.
select 'session ' || pid || coalesce(' of ' || nullif(application_name, ''), '') || ', ' || coalesce(state, 'unknown')
       || coalesce(' since ' || date_trunc('second', coalesce(state_change, backend_start)), '') as holder
  from pg_locks join pg_stat_activity using (pid)
 where locktype = 'advisory' and granted and objsubid = 1
   and pg_locks.database = (select oid from pg_database where datname = current_database())
   and (classid::int8 << 32) | objid::int8 = $1
 limit 1
