-- One row a membership of Clerk, not one a pair of organization and user: who leaves and joins again gets a new ID, and the late delete of
-- the old one must not remove the new row. No foreign keys: organizations, users and memberships arrive in any order.
create table clerk.organization_memberships (
    clerk_id text collate "C" primary key check (char_length(clerk_id) between 1 and 255),

    organization_id text collate "C",
    user_id text collate "C",
    role text,
    role_name text,
    permissions jsonb,

    public_metadata jsonb,
    private_metadata jsonb,

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
    execute 'alter table clerk.organization_memberships
                 alter column data set compression lz4,
                 alter column public_metadata set compression lz4,
                 alter column private_metadata set compression lz4';
exception when feature_not_supported or invalid_parameter_value or syntax_error then
    raise notice 'this server has no lz4: large columns are compressed with pglz';
end
$$;

create index organization_memberships_organization on clerk.organization_memberships (organization_id, user_id);
-- In the order of lists, the newest first.
create index organization_memberships_newest on clerk.organization_memberships (organization_id, clerk_id);
create index organization_memberships_user on clerk.organization_memberships (user_id, clerk_id);
create index organization_memberships_deleted on clerk.organization_memberships (clerk_id) where deleted_at is not null;

-- Of several memberships of one user in one organization the newest. An organization or user that was never heard of counts as active. Nobody
-- documents whether deleting one of these also ends its memberships: the view is right either way.
create view clerk.active_organization_memberships as
select clerk_id, organization_id, user_id, role, role_name, permissions, public_metadata, private_metadata,
       created_at, updated_at, deleted_at, data, event_id, occurred_at, synced_at, erased_at
  from clerk.organization_memberships as membership
 where deleted_at is null
   and not exists (select 1 from clerk.organizations as organization
                    where organization.clerk_id = membership.organization_id and organization.deleted_at is not null)
   and not exists (select 1 from clerk.users as member
                    where member.clerk_id = membership.user_id and member.deleted_at is not null)
   and not exists (select 1 from clerk.organization_memberships as newer
                    where newer.organization_id = membership.organization_id
                      and newer.user_id = membership.user_id
                      and newer.deleted_at is null
                      and (coalesce(newer.created_at, '-infinity'), newer.clerk_id)
                          > (coalesce(membership.created_at, '-infinity'), membership.clerk_id));

comment on table clerk.organization_memberships is 'One row a membership of a user in an organization, ended ones too. Kept by clerk-sync.';
comment on view clerk.active_organization_memberships is 'The memberships of which neither they themselves nor the organization nor the user is deleted; of several of one user in one organization the newest.';
comment on column clerk.organization_memberships.clerk_id is 'Clerk''s ID of the membership, orgmem_…; Clerk does not use an ID twice.';
comment on column clerk.organization_memberships.organization_id is 'Clerk''s ID of the organization.';
comment on column clerk.organization_memberships.user_id is 'Clerk''s ID of the user.';
comment on column clerk.organization_memberships.role is 'Role of the user in the organization, as org:admin.';
comment on column clerk.organization_memberships.role_name is 'Name of the role, for people.';
comment on column clerk.organization_memberships.permissions is 'What the role allows, as org:sys_profile:manage.';
comment on column clerk.organization_memberships.public_metadata is 'Metadata that the front end can read.';
comment on column clerk.organization_memberships.private_metadata is 'Metadata for back ends alone.';
comment on column clerk.organization_memberships.created_at is 'When the user joined the organization.';
comment on column clerk.organization_memberships.updated_at is 'When the membership was last changed at Clerk; first part of the version.';
comment on column clerk.organization_memberships.deleted_at is 'When the membership was deleted at Clerk: the earliest organizationMembership.deleted. Never cleared.';
comment on column clerk.organization_memberships.data is 'The membership object as Clerk sent it, less what is never stored.';
comment on column clerk.organization_memberships.event_id is 'svix-id of the event that the profile came from; null in a row that only a delete has reached.';
comment on column clerk.organization_memberships.occurred_at is 'Time of the event that the profile came from.';
comment on column clerk.organization_memberships.synced_at is 'When clerk-sync last wrote this row.';
comment on column clerk.organization_memberships.erased_at is 'When the personal data of the row was erased with its user. In a row that has it, personal columns are never filled again.';
