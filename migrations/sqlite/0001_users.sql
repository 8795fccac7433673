-- One row a user of Clerk. What it holds is a function of the set of that user's events: the profile of the newest
-- version, the earliest delete. See migrations/postgres/0001_users.sql for the meaning of each column.
--
-- Times are milliseconds since 1970, as Clerk sends them: datetime(updated_at / 1000, 'unixepoch') shows one.
-- Truth values are 0 and 1. JSON is text: data ->> '$.first_name' reads a field.
create table users (
    clerk_id text not null primary key,

    email text,
    email_verified integer,
    phone text,
    phone_verified integer,
    username text,
    first_name text,
    last_name text,
    image_url text,
    external_id text,
    locale text,

    banned integer,
    locked integer,
    two_factor_enabled integer,
    password_enabled integer,

    public_metadata text,
    private_metadata text,
    unsafe_metadata text,

    last_sign_in_at integer,
    last_active_at integer,
    legal_accepted_at integer,
    created_at integer,
    updated_at integer,
    deleted_at integer,

    data text,

    -- SQLite compares text byte by byte unless told otherwise, as the version rule needs it.
    event_id text,
    occurred_at integer,
    synced_at integer not null
) strict;

create index users_email on users (lower(email));
create index users_phone on users (phone);
create index users_username on users (username);
create index users_external_id on users (external_id);

create view active_users as select * from users where deleted_at is null;
