-- Whether the statement above reached the server under the name that the driver gave it. A pooler that follows statements gives
-- each a name of its own.
select exists (select from pg_prepared_statements where name like 'sqlx%' and statement like 'select 1 as clerk_sync_named%') as by_its_name,
       current_setting('synchronous_commit') = 'off' as forgets_commits
