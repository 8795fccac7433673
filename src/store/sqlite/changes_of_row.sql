-- The changes of one row, newest first.
select id, table_name, clerk_id, change, fields, event_id, committed_at
  from changes
 where table_name = ?1
   and clerk_id = ?2
 order by id desc
 limit ?3
