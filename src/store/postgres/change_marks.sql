-- The newest change, and the settings that the change feed keeps.
select coalesce((select max(id) from clerk.changes), 0) as newest,
       coalesce((select (value #>> '{}')::bigint from clerk.settings where name = 'changes_expired'), 0) as expired,
       coalesce((select (value #>> '{}')::bigint from clerk.settings where name = 'changes_published'), 0) as published,
       coalesce((select (value #>> '{}')::bigint from clerk.settings where name = 'changes_generation'), 0) as generation
