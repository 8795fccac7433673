-- Whether so many users or more begin with it in some way. Counting ends with the first way that has them, and with so many.
select (select count(*) from (select 1 from users where lower(email) >= lower(?1) and lower(email) < lower(?2) limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where phone >= ?3 and phone < ?4 limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where username >= ?1 and username < ?2 limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where username >= lower(?1) and username < lower(?2) limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where external_id >= ?1 and external_id < ?2 limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where lower(first_name) >= lower(?1) and lower(first_name) < lower(?2) limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where lower(last_name) >= lower(?1) and lower(last_name) < lower(?2) limit ?7)) >= ?7
       or (select count(*) from (select 1 from users where lower(last_name) >= lower(?5) and lower(last_name) < lower(?6) limit ?7)) >= ?7 as is_common
