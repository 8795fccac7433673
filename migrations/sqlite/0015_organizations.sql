-- One row an organization of Clerk. What it holds is a function of the set of its events, as in users. The organization that is nested in a
-- membership is never written here: it lacks fields.
--
-- Times are milliseconds since 1970, as Clerk sends them. Truth values are 0 and 1. JSON is text.
create table organizations (
    -- Clerk's ID of the organization, org_…; Clerk does not use an ID twice.
    clerk_id text not null primary key,

    -- Name.
    name text,
    -- Short name in URLs; null unless slugs are turned on at Clerk. Not unique over time.
    slug text,
    -- Picture.
    image_url text,

    -- How many members there were at the event: a snapshot. Count the rows of active_organization_memberships for today's number.
    members_count integer,
    -- How many invitations were pending at the event: a snapshot.
    pending_invitations_count integer,
    -- Most members; 0 for no limit.
    max_allowed_memberships integer,
    -- Whether an admin of the organization may delete it.
    admin_delete_enabled integer,
    -- Clerk's ID of the user who created it.
    created_by text,
    -- The set of roles that its members can have.
    role_set_key text,

    -- Metadata that the front end can read.
    public_metadata text,
    -- Metadata for back ends alone.
    private_metadata text,

    -- Last activity, as of the newest event.
    last_active_at integer,
    -- When the organization was created at Clerk.
    created_at integer,
    -- When the organization was last changed at Clerk; first part of the version.
    updated_at integer,
    -- When the organization was deleted at Clerk: the earliest organization.deleted. Never cleared.
    deleted_at integer,

    -- The whole organization object as Clerk sent it.
    data text,

    -- svix-id of the event that the profile came from; null in a row that only a delete has reached.
    event_id text,
    -- Time of the event that the profile came from.
    occurred_at integer,
    -- When clerk-sync last wrote this row.
    synced_at integer not null,
    -- Not used: an organization is no person.
    erased_at integer,
    -- The lower case of texts that SQLite's lower() does not know, as a JSON object; null for most.
    folded text
) strict;

create index organizations_name on organizations (coalesce(folded ->> '$.name', lower(name)));
create index organizations_slug on organizations (slug);
create index organizations_deleted on organizations (clerk_id) where deleted_at is not null;

create view active_organizations as
select clerk_id, name, slug, image_url, members_count, pending_invitations_count, max_allowed_memberships,
       admin_delete_enabled, created_by, role_set_key, public_metadata, private_metadata, last_active_at,
       created_at, updated_at, deleted_at, data, event_id, occurred_at, synced_at, erased_at
  from organizations
 where deleted_at is null;
