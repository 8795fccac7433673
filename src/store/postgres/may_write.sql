-- Whether the role may write what a batch writes. Deletes nothing, and is refused if nothing may be written at all.
with nothing as (delete from clerk.events where false)
select has_table_privilege('clerk.users', 'insert')
       and has_table_privilege('clerk.users', 'update')
       and has_table_privilege('clerk.events', 'insert')
       and has_table_privilege('clerk.events', 'update') as allowed
