-- A person's data can be erased; the row stays, so that what points at it holds, and so that no late event fills it again.
alter table clerk.users add column erased_at timestamptz;
comment on column clerk.users.erased_at is 'When everything but the ID and the time of the delete was erased. A row that has it is never filled again.';

-- Who is deleted, few among many: what erases those that were deleted before it was told to. deleted_at alone is in the
-- condition, so that an update of a profile stays off this index.
create index users_deleted on clerk.users (clerk_id) where deleted_at is not null;

create or replace view clerk.active_users as select * from clerk.users where deleted_at is null;
