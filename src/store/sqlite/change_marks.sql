-- The newest change, and the settings that the change feed keeps. Rows are deleted from the oldest on: what is known of them is in
-- the setting.
select coalesce((select max(id) from changes), 0) as newest,
       coalesce((select cast(value as integer) from settings where name = 'changes_expired'), 0) as expired,
       coalesce((select cast(value as integer) from settings where name = 'changes_published'), 0) as published,
       coalesce((select cast(value as integer) from settings where name = 'changes_generation'), 0) as generation
