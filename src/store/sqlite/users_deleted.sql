-- Deleted users, by the index that holds only them; otherwise as users.sql.
select <listed>, case when ?9 then data end as data
  from users
 where deleted_at is not null
   -- Where the page before ended. Every text is less than any blob, so without a cursor nothing is left out.
   and clerk_id < coalesce(?6, x'')
 order by clerk_id desc
 limit ?7
