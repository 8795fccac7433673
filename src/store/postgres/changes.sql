-- The change feed between two IDs, oldest first, of one table or of all.
select id, table_name, clerk_id, change, array_to_json(fields)::text as fields, event_id, committed_at
  from clerk.changes
 where id > $1::bigint
   and id <= $2::bigint
   and ($3::text is null or table_name = $3::text)
 order by id
 limit $4::bigint
