-- Whether so many users or more begin with it in some way. Counting ends with the first way that has them, and with so many.
select (select count(*) from (select 1 from users where coalesce(folded ->> '$.email', lower(email)) >= ?8 and coalesce(folded ->> '$.email', lower(email)) < ?9 limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where phone >= ?3 and phone < ?4 limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where username >= ?1 and username < ?2 limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where username >= ?8 and username < ?9 limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where external_id >= ?1 and external_id < ?2 limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where coalesce(folded ->> '$.first_name', lower(first_name)) >= ?8 and coalesce(folded ->> '$.first_name', lower(first_name)) < ?9 limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where coalesce(folded ->> '$.last_name', lower(last_name)) >= ?8 and coalesce(folded ->> '$.last_name', lower(last_name)) < ?9 limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where coalesce(folded ->> '$.last_name', lower(last_name)) >= ?5 and coalesce(folded ->> '$.last_name', lower(last_name)) < ?6 limit ?7)) >= ?7 as is_common
