-- Deletes the oldest changes, on request only published ones.
delete from changes
 where id in (
           select id
             from changes
            where not ?2
               or id <= coalesce((select cast(value as integer) from settings where name = 'changes_published'), 0)
            order by id
            limit ?3
       )
   and committed_at < ?1
returning id
