-- Locks the row that says up to which change all are published. Another process that has it is not waited for.
select (value #>> '{}')::bigint as published
  from clerk.settings
 where name = 'changes_published'
   for update skip locked
