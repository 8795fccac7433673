-- How many users; the deleted ones by the index that holds only them.
select (select count(*) from clerk.users) as users,
       (select count(*) from clerk.users where deleted_at is not null) as deleted_users
