-- Users by username, by its index.
select <listed>, case when ?9 then data end as data
  from users
 where username = ?3
   and (?5 is null or (deleted_at is not null) = ?5)
   -- Where the page before ended.
   and <after>
 order by <order>
 limit ?7
