-- The times of the oldest change, of the newest, and of the oldest that is not published; and whether changes are recorded: above 0.
select (select committed_at from changes order by id limit 1) as oldest_kept_at,
       (select committed_at from changes order by id desc limit 1) as newest_at,
       (
           select committed_at
             from changes
            where id > coalesce((select cast(value as integer) from settings where name = 'changes_published'), 0)
            order by id
            limit 1
       ) as oldest_unpublished_at,
       coalesce((select cast(value as integer) from settings where name = 'changes_generation'), 0) as generation
