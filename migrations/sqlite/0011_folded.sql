-- Look-ups by e-mail address and by name ignore case. SQLite's lower() knows ASCII only, so the lower case of a text that it does not know
-- is kept beside it. The program fills the column for the rows that are there.
-- Of email, first_name and last_name those whose lower case is not that of lower(), as a JSON object: {"first_name":"åsa"}. Null for most.
alter table users add column folded text;

drop index users_first_name;
drop index users_last_name;
create index users_email_folded on users (coalesce(folded ->> '$.email', lower(email)));
create index users_first_name on users (coalesce(folded ->> '$.first_name', lower(first_name)));
create index users_last_name on users (coalesce(folded ->> '$.last_name', lower(last_name)));

-- The view has the columns of the tables in PostgreSQL.
drop view active_users;
create view active_users as
select clerk_id, email, email_verified, phone, phone_verified, username, first_name, last_name, image_url, external_id,
       locale, banned, locked, two_factor_enabled, password_enabled, public_metadata, private_metadata, unsafe_metadata,
       last_sign_in_at, last_active_at, legal_accepted_at, created_at, updated_at, deleted_at, data, event_id, occurred_at,
       synced_at, erased_at
  from users
 where deleted_at is null;
