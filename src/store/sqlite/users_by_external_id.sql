-- Users by external_id, by its index. Parts of the filter that lead to a row less surely are not asked for where they are null.
select <listed>, case when ?9 then data end as data
  from users
 where external_id = ?4
   and (?3 is null or username = ?3)
   and (?5 is null or (deleted_at is not null) = ?5)
   -- Where the page before ended.
   and <after>
 order by <order>
 limit ?7
