-- The transactions that may have drawn IDs of the change feed and have not ended. Each locks the table before it draws one, and keeps
-- the lock until others see what it has committed.
select virtualtransaction
  from pg_locks
 where locktype = 'relation'
   and relation = 'clerk.changes'::regclass
   and database = (select oid from pg_database where datname = current_database())
   and mode = 'RowExclusiveLock'
   and granted
