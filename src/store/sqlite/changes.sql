-- The change feed between two IDs, oldest first, of one table or of all.
select id, table_name, clerk_id, change, fields, event_id, committed_at
  from changes
 where id > ?1
   and id <= ?2
   and (?3 is null or table_name = ?3)
 order by id
 limit ?4
