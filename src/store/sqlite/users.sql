-- Users in an order that an index has, from after the cursor on. Asked where no part of the filter has an index: SQLite plans a
-- statement without its values, so each such part has a statement of its own (users_by_*.sql).
select <listed>, case when ?9 then data end as data
  from users
 where (?5 is null or (deleted_at is not null) = ?5)
   -- Where the page before ended.
   and <after>
 order by <order>
 limit ?7
