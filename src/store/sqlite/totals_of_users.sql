-- How many users; the deleted ones by the index that holds only them.
select (select count(*) from users) as users,
       (select count(*) from users where deleted_at is not null) as deleted_users
