-- One row a user of Clerk. What it holds is a function of the set of that user's events: the profile of the newest
-- version, the earliest delete.
--
-- Times are milliseconds since 1970, as Clerk sends them: datetime(updated_at / 1000, 'unixepoch') shows one.
-- Truth values are 0 and 1. JSON is text: data ->> '$.first_name' reads a field.
create table users (
    -- Clerk's ID of the user, user_…; Clerk does not use an ID twice.
    clerk_id text not null primary key,

    -- Primary e-mail address. Not unique over time.
    email text,
    -- Whether the primary e-mail address is verified.
    email_verified integer,
    -- Primary phone number, as +12025550123.
    phone text,
    -- Whether the primary phone number is verified.
    phone_verified integer,
    -- User name.
    username text,
    -- First name.
    first_name text,
    -- Last name.
    last_name text,
    -- Picture.
    image_url text,
    -- Your own ID of the user, as set at Clerk.
    external_id text,
    -- Language, as BCP 47 tag.
    locale text,

    -- Whether the user is banned.
    banned integer,
    -- Whether the user is locked after failed sign-ins.
    locked integer,
    -- Whether a second factor is set up.
    two_factor_enabled integer,
    -- Whether the user has a password.
    password_enabled integer,

    -- Metadata that the front end can read.
    public_metadata text,
    -- Metadata for back ends alone.
    private_metadata text,
    -- Metadata that the user can write.
    unsafe_metadata text,

    -- Last sign-in, as of the newest event.
    last_sign_in_at integer,
    -- Last activity, as of the newest event.
    last_active_at integer,
    -- When the legal terms were accepted.
    legal_accepted_at integer,
    -- When the user was created at Clerk.
    created_at integer,
    -- When the user was last changed at Clerk; first part of the version.
    updated_at integer,
    -- When the user was deleted at Clerk: the earliest user.deleted. Never cleared.
    deleted_at integer,

    -- The whole user object as Clerk sent it.
    data text,

    -- svix-id of the event that the profile came from; null in a row that only a delete has reached.
    -- SQLite compares text byte by byte unless told otherwise, as the version rule needs it.
    event_id text,
    -- Time of the event that the profile came from.
    occurred_at integer,
    -- When clerk-sync last wrote this row.
    synced_at integer not null
) strict;

create index users_email on users (lower(email));
create index users_phone on users (phone);
create index users_username on users (username);
create index users_external_id on users (external_id);

create view active_users as select * from users where deleted_at is null;
