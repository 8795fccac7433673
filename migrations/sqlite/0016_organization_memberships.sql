-- One row a membership of Clerk, not one a pair of organization and user: who leaves and joins again gets a new ID, and the late delete of
-- the old one must not remove the new row. No foreign keys: organizations, users and memberships arrive in any order.
--
-- Times are milliseconds since 1970, as Clerk sends them. Truth values are 0 and 1. JSON is text.
create table organization_memberships (
    -- Clerk's ID of the membership, orgmem_…; Clerk does not use an ID twice.
    clerk_id text not null primary key,

    -- Clerk's ID of the organization.
    organization_id text,
    -- Clerk's ID of the user.
    user_id text,
    -- Role of the user in the organization, as org:admin.
    role text,
    -- Name of the role, for people.
    role_name text,
    -- What the role allows, as org:sys_profile:manage.
    permissions text,

    -- Metadata that the front end can read.
    public_metadata text,
    -- Metadata for back ends alone.
    private_metadata text,

    -- When the user joined the organization.
    created_at integer,
    -- When the membership was last changed at Clerk; first part of the version.
    updated_at integer,
    -- When the membership was deleted at Clerk: the earliest organizationMembership.deleted. Never cleared.
    deleted_at integer,

    -- The membership object as Clerk sent it, less what is never stored.
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

create index organization_memberships_organization on organization_memberships (organization_id, user_id);
-- In the order of lists, the newest first.
create index organization_memberships_newest on organization_memberships (organization_id, clerk_id);
create index organization_memberships_user on organization_memberships (user_id, clerk_id);
create index organization_memberships_deleted on organization_memberships (clerk_id) where deleted_at is not null;

-- Of several memberships of one user in one organization the newest. An organization or user that was never heard of counts as active. Nobody
-- documents whether deleting one of these also ends its memberships: the view is right either way.
create view active_organization_memberships as
select clerk_id, organization_id, user_id, role, role_name, permissions, public_metadata, private_metadata,
       created_at, updated_at, deleted_at, data, event_id, occurred_at, synced_at, erased_at
  from organization_memberships as membership
 where deleted_at is null
   and not exists (select 1 from organizations as organization
                    where organization.clerk_id = membership.organization_id and organization.deleted_at is not null)
   and not exists (select 1 from users as member
                    where member.clerk_id = membership.user_id and member.deleted_at is not null)
   and not exists (select 1 from organization_memberships as newer
                    where newer.organization_id = membership.organization_id
                      and newer.user_id = membership.user_id
                      and newer.deleted_at is null
                      and (coalesce(newer.created_at, 0), newer.clerk_id)
                          > (coalesce(membership.created_at, 0), membership.clerk_id));
