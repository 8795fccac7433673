changed as (
    -- The change feed. An ID is drawn once its row is locked, so the changes of one row have theirs in the order of the commits.
    insert into clerk.changes (table_name, clerk_id, change, fields, event_id, committed_at)
    select '<table>', written.clerk_id,
           case when deletes then 'deleted' when old.clerk_id is null and not raced then 'created' else 'updated' end,
           -- Where another write came between, `old` is not what was there: rather one name too many than one too few.
           array_remove(array[{< case when raced or written.column is distinct from old.column then 'column' end >}], null),
           case when deletes then deleted_by else written.event_id end,
           now()
      from written
      join unnest($1::text[], $3::timestamptz[], $<last>::text[]) as change (clerk_id, deleted_at, deleted_by)
        on change.clerk_id = written.clerk_id
      left join old on old.clerk_id = written.clerk_id
     cross join lateral (
               select (written.deleted_at = change.deleted_at and written.deleted_at is distinct from old.deleted_at) is true as deletes
           ) as kind
    returning change
),
