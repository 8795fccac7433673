-- Deleted users, by the index that holds only them; otherwise as users.sql.
select <listed>, case when ?9 then data end as data
  from users
 where deleted_at is not null
   -- Where the page before ended.
   and <after>
 order by <order>
 limit ?7
