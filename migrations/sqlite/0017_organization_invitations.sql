-- One row an invitation to an organization. Its URL, which holds the token that accepts it, is stored nowhere. Clerk sends no event when it
-- expires, and none that deletes it.
--
-- Times are milliseconds since 1970, as Clerk sends them. Truth values are 0 and 1. JSON is text.
create table organization_invitations (
    -- Clerk's ID of the invitation, orginv_…; Clerk does not use an ID twice.
    clerk_id text not null primary key,

    -- Clerk's ID of the organization.
    organization_id text,
    -- Who is invited.
    email_address text,
    -- Role that the invited person gets, as org:member.
    role text,
    -- Name of the role, for people.
    role_name text,
    -- Clerk's ID of the user who invited.
    inviter_id text,
    -- Clerk's ID of the user who accepted.
    user_id text,
    -- pending, accepted or revoked, as of the newest event; expired only if Clerk's list said so.
    status text,

    -- Metadata that the front end can read.
    public_metadata text,
    -- Metadata for back ends alone.
    private_metadata text,

    -- When it expires.
    expires_at integer,
    -- When the invitation was created.
    created_at integer,
    -- When the invitation was last changed at Clerk; first part of the version.
    updated_at integer,
    -- When the invitation was found to be gone at Clerk. Never cleared.
    deleted_at integer,

    -- The invitation object as Clerk sent it, less what is never stored.
    data text,

    -- svix-id of the event that the profile came from; null in a row that only a delete has reached.
    event_id text,
    -- Time of the event that the profile came from.
    occurred_at integer,
    -- When clerk-sync last wrote this row.
    synced_at integer not null,
    -- When the personal data of the row was erased with its user. In a row that has it, personal columns are never filled again.
    erased_at integer,
    -- The lower case of texts that SQLite's lower() does not know, as a JSON object; null for most.
    folded text
) strict;

create index organization_invitations_organization on organization_invitations (organization_id, clerk_id);
create index organization_invitations_email on organization_invitations (coalesce(folded ->> '$.email_address', lower(email_address)));
create index organization_invitations_user on organization_invitations (user_id) where user_id is not null;
create index organization_invitations_deleted on organization_invitations (clerk_id) where deleted_at is not null;

create view pending_organization_invitations as
select clerk_id, organization_id, email_address, role, role_name, inviter_id, user_id, status, public_metadata,
       private_metadata, expires_at, created_at, updated_at, deleted_at, data, event_id, occurred_at,
       synced_at, erased_at
  from organization_invitations
 where deleted_at is null
   and status = 'pending'
   and (expires_at is null or expires_at > strftime('%s', 'now') * 1000);
