-- One row an organization of Clerk. What it holds is a function of the set of its events, as in users. The organization that is nested in a
-- membership is never written here: it lacks fields.
create table clerk.organizations (
    clerk_id text collate "C" primary key check (char_length(clerk_id) between 1 and 255),

    name text,
    slug text,
    image_url text,

    members_count bigint,
    pending_invitations_count bigint,
    max_allowed_memberships bigint,
    admin_delete_enabled boolean,
    created_by text collate "C",
    role_set_key text,

    public_metadata jsonb,
    private_metadata jsonb,

    last_active_at timestamptz,
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
    execute 'alter table clerk.organizations
                 alter column data set compression lz4,
                 alter column public_metadata set compression lz4,
                 alter column private_metadata set compression lz4';
exception when feature_not_supported or invalid_parameter_value or syntax_error then
    raise notice 'this server has no lz4: large columns are compressed with pglz';
end
$$;

-- Organizations are searched for by the beginning of their name or slug; text_pattern_ops serves equality too.
create index organizations_name on clerk.organizations (lower(name) text_pattern_ops);
create index organizations_slug on clerk.organizations (slug text_pattern_ops);
create index organizations_deleted on clerk.organizations (clerk_id) where deleted_at is not null;

create view clerk.active_organizations as
select clerk_id, name, slug, image_url, members_count, pending_invitations_count, max_allowed_memberships,
       admin_delete_enabled, created_by, role_set_key, public_metadata, private_metadata, last_active_at,
       created_at, updated_at, deleted_at, data, event_id, occurred_at, synced_at, erased_at
  from clerk.organizations
 where deleted_at is null;

comment on table clerk.organizations is 'One row an organization of Clerk, deleted ones too. Kept by clerk-sync.';
comment on view clerk.active_organizations is 'The organizations that are not deleted.';
comment on column clerk.organizations.clerk_id is 'Clerk''s ID of the organization, org_…; Clerk does not use an ID twice.';
comment on column clerk.organizations.name is 'Name.';
comment on column clerk.organizations.slug is 'Short name in URLs; null unless slugs are turned on at Clerk. Not unique over time.';
comment on column clerk.organizations.image_url is 'Picture.';
comment on column clerk.organizations.members_count is 'How many members there were at the event: a snapshot. Count the rows of active_organization_memberships for today''s number.';
comment on column clerk.organizations.pending_invitations_count is 'How many invitations were pending at the event: a snapshot.';
comment on column clerk.organizations.max_allowed_memberships is 'Most members; 0 for no limit.';
comment on column clerk.organizations.admin_delete_enabled is 'Whether an admin of the organization may delete it.';
comment on column clerk.organizations.created_by is 'Clerk''s ID of the user who created it.';
comment on column clerk.organizations.role_set_key is 'The set of roles that its members can have.';
comment on column clerk.organizations.public_metadata is 'Metadata that the front end can read.';
comment on column clerk.organizations.private_metadata is 'Metadata for back ends alone.';
comment on column clerk.organizations.last_active_at is 'Last activity, as of the newest event.';
comment on column clerk.organizations.created_at is 'When the organization was created at Clerk.';
comment on column clerk.organizations.updated_at is 'When the organization was last changed at Clerk; first part of the version.';
comment on column clerk.organizations.deleted_at is 'When the organization was deleted at Clerk: the earliest organization.deleted. Never cleared.';
comment on column clerk.organizations.data is 'The whole organization object as Clerk sent it.';
comment on column clerk.organizations.event_id is 'svix-id of the event that the profile came from; null in a row that only a delete has reached.';
comment on column clerk.organizations.occurred_at is 'Time of the event that the profile came from.';
comment on column clerk.organizations.synced_at is 'When clerk-sync last wrote this row.';
comment on column clerk.organizations.erased_at is 'Not used: an organization is no person.';

-- Events are not about users alone any more.
comment on column clerk.events.event_type is 'The type in the body, as user.updated; user.unreadable where the body has none.';
comment on column clerk.events.clerk_id is 'Clerk''s ID of the object that it is about; null where it could not be read.';

-- Only the owner of a schema may comment on it.
do $$
begin
    comment on schema clerk is 'Users and organizations of Clerk and the events they came from, kept by clerk-sync.';
exception when insufficient_privilege then
    raise notice 'the schema is another role''s: it keeps its comment';
end
$$;
