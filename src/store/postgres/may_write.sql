-- Whether the role may write what batches write. Deletes nothing, and is refused if nothing may be written at all.
with nothing as (delete from clerk.events where false)
select bool_and(has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'update')) as allowed
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'clerk' and c.relname in (<tables>, 'events')
