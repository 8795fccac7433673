-- As users_by_search.sql, for what many users are found by: read in order, the page is soon full.
select <listed>, case when ?9 then data end as data
  from users
 where (clerk_id >= ?10 and clerk_id < ?11
        or coalesce(folded ->> '$.email', lower(email)) >= ?18 and coalesce(folded ->> '$.email', lower(email)) < ?19
        or phone >= ?12 and phone < ?13
        or username >= ?10 and username < ?11
        or username >= ?18 and username < ?19
        or external_id >= ?10 and external_id < ?11
        or coalesce(folded ->> '$.first_name', lower(first_name)) >= ?18 and coalesce(folded ->> '$.first_name', lower(first_name)) < ?19
        or coalesce(folded ->> '$.last_name', lower(last_name)) >= ?18 and coalesce(folded ->> '$.last_name', lower(last_name)) < ?19
        or coalesce(folded ->> '$.first_name', lower(first_name)) >= ?14 and coalesce(folded ->> '$.first_name', lower(first_name)) < ?15
           and coalesce(folded ->> '$.last_name', lower(last_name)) >= ?16 and coalesce(folded ->> '$.last_name', lower(last_name)) < ?17)
   and (?1 is null or coalesce(folded ->> '$.email', lower(email)) = ?1)
   and (?2 is null or phone = ?2)
   and (?3 is null or username = ?3)
   and (?4 is null or external_id = ?4)
   and (?5 is null or (deleted_at is not null) = ?5)
   and (?8 is null or +clerk_id in (select value from json_each(?8)))
   -- Where the page before ended. Every text is less than any blob, so without a cursor nothing is left out.
   and clerk_id < coalesce(?6, x'')
 order by clerk_id desc
 limit ?7
