-- How many users have no value in the column, counted up to ?1.
select count(*) as users from (select 1 from users where <key> is null limit ?1)
