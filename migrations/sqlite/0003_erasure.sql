-- A person's data can be erased; the row stays, so that what points at it holds, and so that no late event fills it again.
-- When everything but the ID and the time of the delete was erased. A row that has it is never filled again.
alter table users add column erased_at integer;

-- Who is deleted, few among many: what erases those that were deleted before it was told to.
create index users_deleted on users (clerk_id) where deleted_at is not null;

drop view active_users;
create view active_users as select * from users where deleted_at is null;
