changed as (
    -- The change feed: which columns were not empty before.
    insert into clerk.changes (table_name, clerk_id, change, fields, committed_at)
    select '<table>', clerk_id, 'erased', fields, now()
      from (
               select clerk_id, array_remove(array[{< case when false [[or column is not null]] then 'column' end >}], null) as fields
                 from before
                where clerk_id in (select clerk_id from erased)
           ) as row
     where cardinality(fields) > 0
    returning pg_notify('clerk_changes', '')::text as notified
),
