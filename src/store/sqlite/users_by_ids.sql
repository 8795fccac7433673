-- Users by their IDs, of which there are few. The other parts of the filter are not asked for where they are null.
select <listed>, case when ?9 then data end as data
  from users
 where clerk_id in (select value from json_each(?8))
   and (?1 is null or coalesce(folded ->> '$.email', lower(email)) = ?1)
   and (?2 is null or phone = ?2)
   and (?3 is null or username = ?3)
   and (?4 is null or external_id = ?4)
   and (?5 is null or (deleted_at is not null) = ?5)
   -- Where the page before ended.
   and <after>
 order by <order>
 limit ?7
