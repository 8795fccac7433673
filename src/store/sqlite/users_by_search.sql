-- Users by what a person typed: the beginning of something; of people alone case does not count. All IDs begin alike: of these the
-- newest are enough, since they are listed first. Each other beginning is a range of its index, from the text to the first one after all that begin with it. A plus keeps SQLite from the index of what stands
-- behind it: without, it would read all users in order.
select <listed>, case when ?9 then data end as data
  from users
 where (clerk_id in (select clerk_id
                      from users
                     where clerk_id >= ?10 and clerk_id < ?11
                       and (?1 is null or coalesce(folded ->> '$.email', lower(email)) = ?1)
                       and (?2 is null or phone = ?2)
                       and (?3 is null or username = ?3)
                       and (?4 is null or external_id = ?4)
                       and (?5 is null or (deleted_at is not null) = ?5)
                       and (?8 is null or +clerk_id in (select value from json_each(?8)))
                       and clerk_id < coalesce(?6, x'')
                     order by clerk_id desc
                     limit ?7)
        or coalesce(folded ->> '$.email', lower(email)) >= ?18 and coalesce(folded ->> '$.email', lower(email)) < ?19
        or phone >= ?12 and phone < ?13
        or username >= ?10 and username < ?11
        or username >= ?18 and username < ?19
        or external_id >= ?10 and external_id < ?11
        or coalesce(folded ->> '$.first_name', lower(first_name)) >= ?18 and coalesce(folded ->> '$.first_name', lower(first_name)) < ?19
        or coalesce(folded ->> '$.last_name', lower(last_name)) >= ?18 and coalesce(folded ->> '$.last_name', lower(last_name)) < ?19
        or +coalesce(folded ->> '$.first_name', lower(first_name)) >= ?14 and +coalesce(folded ->> '$.first_name', lower(first_name)) < ?15
           and coalesce(folded ->> '$.last_name', lower(last_name)) >= ?16 and coalesce(folded ->> '$.last_name', lower(last_name)) < ?17)
   and (?1 is null or coalesce(folded ->> '$.email', lower(email)) = ?1)
   and (?2 is null or phone = ?2)
   and (?3 is null or username = ?3)
   and (?4 is null or external_id = ?4)
   and (?5 is null or (deleted_at is not null) = ?5)
   and (?8 is null or +clerk_id in (select value from json_each(?8)))
   -- Where the page before ended. Every text is less than any blob, so without a cursor nothing is left out.
   and +clerk_id < coalesce(?6, x'')
 order by +clerk_id desc
 limit ?7
