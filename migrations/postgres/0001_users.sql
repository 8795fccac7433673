-- One row a user of Clerk. What it holds is a function of the set of that user's events: the profile of the newest
-- version, the earliest delete.
create table clerk.users (
    -- In the order of its bytes, on every server: Clerk's IDs grow with time in that order alone.
    clerk_id text collate "C" primary key check (char_length(clerk_id) between 1 and 255),

    email text,
    email_verified boolean,
    phone text,
    phone_verified boolean,
    username text,
    first_name text,
    last_name text,
    image_url text,
    external_id text,
    locale text,

    banned boolean,
    locked boolean,
    two_factor_enabled boolean,
    password_enabled boolean,

    public_metadata jsonb,
    private_metadata jsonb,
    unsafe_metadata jsonb,

    last_sign_in_at timestamptz,
    last_active_at timestamptz,
    legal_accepted_at timestamptz,
    created_at timestamptz,
    updated_at timestamptz,
    deleted_at timestamptz,

    data jsonb,

    -- The version rule compares it byte by byte: another collation orders 'msg_a' and 'msg_B' the other way.
    event_id text collate "C",
    occurred_at timestamptz,
    synced_at timestamptz not null default now()
)
-- Room on each page for the next version of a row: an update then touches no index (HOT).
with (fillfactor = 80);

-- lz4 makes large columns a fifth cheaper to write. A server can be built without it, and before 14 none has the words for
-- it; `execute`, so that the words are read only when they are said.
do $$
begin
    execute 'alter table clerk.users
                 alter column data set compression lz4,
                 alter column public_metadata set compression lz4,
                 alter column private_metadata set compression lz4,
                 alter column unsafe_metadata set compression lz4';
exception when feature_not_supported or invalid_parameter_value or syntax_error then
    raise notice 'this server has no lz4: large columns are compressed with pglz';
end
$$;

-- Look-ups by what people know of a user. None is unique: people delete an account and sign up again with the same
-- address. None on updated_at: it changes with every event, and an index on it would cost every update its HOT path.
create index users_email on clerk.users (lower(email));
create index users_phone on clerk.users (phone);
create index users_username on clerk.users (username);
create index users_external_id on clerk.users (external_id);

create view clerk.active_users as select * from clerk.users where deleted_at is null;

-- Only the owner of a schema may comment on it; one that was made by an administrator can do without.
do $$
begin
    comment on schema clerk is 'Users of Clerk and the events they came from, kept by clerk-sync.';
exception when insufficient_privilege then
    raise notice 'the schema is another role''s: it gets no comment';
end
$$;
comment on table clerk.users is 'One row a user of Clerk, deleted ones too. Kept by clerk-sync.';
comment on view clerk.active_users is 'The users that are not deleted.';
comment on column clerk.users.clerk_id is 'Clerk''s ID of the user, user_…; Clerk does not use an ID twice.';
comment on column clerk.users.email is 'Primary e-mail address. Not unique over time.';
comment on column clerk.users.email_verified is 'Whether the primary e-mail address is verified.';
comment on column clerk.users.phone is 'Primary phone number, as +12025550123.';
comment on column clerk.users.phone_verified is 'Whether the primary phone number is verified.';
comment on column clerk.users.username is 'User name.';
comment on column clerk.users.first_name is 'First name.';
comment on column clerk.users.last_name is 'Last name.';
comment on column clerk.users.image_url is 'Picture.';
comment on column clerk.users.external_id is 'Your own ID of the user, as set at Clerk.';
comment on column clerk.users.locale is 'Language, as BCP 47 tag.';
comment on column clerk.users.banned is 'Whether the user is banned.';
comment on column clerk.users.locked is 'Whether the user is locked after failed sign-ins.';
comment on column clerk.users.two_factor_enabled is 'Whether a second factor is set up.';
comment on column clerk.users.password_enabled is 'Whether the user has a password.';
comment on column clerk.users.public_metadata is 'Metadata that the front end can read.';
comment on column clerk.users.private_metadata is 'Metadata for back ends alone.';
comment on column clerk.users.unsafe_metadata is 'Metadata that the user can write.';
comment on column clerk.users.last_sign_in_at is 'Last sign-in, as of the newest event.';
comment on column clerk.users.last_active_at is 'Last activity, as of the newest event.';
comment on column clerk.users.legal_accepted_at is 'When the legal terms were accepted.';
comment on column clerk.users.created_at is 'When the user was created at Clerk.';
comment on column clerk.users.updated_at is 'When the user was last changed at Clerk; first part of the version.';
comment on column clerk.users.deleted_at is 'When the user was deleted at Clerk: the earliest user.deleted. Never cleared.';
comment on column clerk.users.data is 'The whole user object as Clerk sent it.';
comment on column clerk.users.event_id is 'svix-id of the event that the profile came from; null in a row that only a delete has reached.';
comment on column clerk.users.occurred_at is 'Time of the event that the profile came from.';
comment on column clerk.users.synced_at is 'When clerk-sync last wrote this row.';
