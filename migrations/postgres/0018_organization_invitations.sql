-- One row an invitation to an organization. Its URL, which holds the token that accepts it, is stored nowhere. Clerk sends no event when it
-- expires, and none that deletes it.
create table clerk.organization_invitations (
    clerk_id text collate "C" primary key check (char_length(clerk_id) between 1 and 255),

    organization_id text collate "C",
    email_address text,
    role text,
    role_name text,
    inviter_id text collate "C",
    user_id text collate "C",
    status text,

    public_metadata jsonb,
    private_metadata jsonb,

    expires_at timestamptz,
    created_at timestamptz,
    updated_at timestamptz,
    deleted_at timestamptz,

    data jsonb,

    event_id text collate "C",
    occurred_at timestamptz,
    synced_at timestamptz not null default now(),
    erased_at timestamptz
)
-- Room on each page for the next version of a row: an update then touches no index (HOT).
with (fillfactor = 80);

-- A server can be built without lz4, and before 14 none has the words for it.
do $$
begin
    execute 'alter table clerk.organization_invitations
                 alter column data set compression lz4,
                 alter column public_metadata set compression lz4,
                 alter column private_metadata set compression lz4';
exception when feature_not_supported or invalid_parameter_value or syntax_error then
    raise notice 'this server has no lz4: large columns are compressed with pglz';
end
$$;

create index organization_invitations_organization on clerk.organization_invitations (organization_id, clerk_id);
create index organization_invitations_email on clerk.organization_invitations (lower(email_address) text_pattern_ops);
-- Whose rows are erased with a user: few invitations are accepted at all.
create index organization_invitations_user on clerk.organization_invitations (user_id) where user_id is not null;
create index organization_invitations_deleted on clerk.organization_invitations (clerk_id) where deleted_at is not null;

create view clerk.pending_organization_invitations as
select clerk_id, organization_id, email_address, role, role_name, inviter_id, user_id, status, public_metadata,
       private_metadata, expires_at, created_at, updated_at, deleted_at, data, event_id, occurred_at,
       synced_at, erased_at
  from clerk.organization_invitations
 where deleted_at is null
   and status = 'pending'
   and (expires_at is null or expires_at > now());

comment on table clerk.organization_invitations is 'One row an invitation to an organization, past ones too. Kept by clerk-sync.';
comment on view clerk.pending_organization_invitations is 'The invitations that can still be accepted: pending, and not expired.';
comment on column clerk.organization_invitations.clerk_id is 'Clerk''s ID of the invitation, orginv_…; Clerk does not use an ID twice.';
comment on column clerk.organization_invitations.organization_id is 'Clerk''s ID of the organization.';
comment on column clerk.organization_invitations.email_address is 'Who is invited.';
comment on column clerk.organization_invitations.role is 'Role that the invited person gets, as org:member.';
comment on column clerk.organization_invitations.role_name is 'Name of the role, for people.';
comment on column clerk.organization_invitations.inviter_id is 'Clerk''s ID of the user who invited.';
comment on column clerk.organization_invitations.user_id is 'Clerk''s ID of the user who accepted.';
comment on column clerk.organization_invitations.status is 'pending, accepted or revoked, as of the newest event; expired only if Clerk''s list said so.';
comment on column clerk.organization_invitations.public_metadata is 'Metadata that the front end can read.';
comment on column clerk.organization_invitations.private_metadata is 'Metadata for back ends alone.';
comment on column clerk.organization_invitations.expires_at is 'When it expires.';
comment on column clerk.organization_invitations.created_at is 'When the invitation was created.';
comment on column clerk.organization_invitations.updated_at is 'When the invitation was last changed at Clerk; first part of the version.';
comment on column clerk.organization_invitations.deleted_at is 'When the invitation was found to be gone at Clerk. Never cleared.';
comment on column clerk.organization_invitations.data is 'The invitation object as Clerk sent it, less what is never stored.';
comment on column clerk.organization_invitations.event_id is 'svix-id of the event that the profile came from; null in a row that only a delete has reached.';
comment on column clerk.organization_invitations.occurred_at is 'Time of the event that the profile came from.';
comment on column clerk.organization_invitations.synced_at is 'When clerk-sync last wrote this row.';
comment on column clerk.organization_invitations.erased_at is 'When the personal data of the row was erased with its user. In a row that has it, personal columns are never filled again.';
