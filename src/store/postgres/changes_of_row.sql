-- The changes of one row, newest first.
select id, table_name, clerk_id, change, array_to_json(fields)::text as fields, event_id, committed_at
  from clerk.changes
 where table_name = $1::text
   and clerk_id = $2::text
 order by id desc
 limit $3::bigint
