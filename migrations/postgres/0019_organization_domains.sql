-- One row a domain of an organization. What it holds is a function of the set of its events, as in users.
create table clerk.organization_domains (
    clerk_id text collate "C" primary key check (char_length(clerk_id) between 1 and 255),

    organization_id text collate "C",
    name text,
    enrollment_mode text,
    affiliation_email_address text,

    affiliation_verification jsonb,
    ownership_verification jsonb,
    verification jsonb,

    total_pending_invitations bigint,
    total_pending_suggestions bigint,

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

create index organization_domains_organization on clerk.organization_domains (organization_id, clerk_id);
create index organization_domains_name on clerk.organization_domains (lower(name) text_pattern_ops);
create index organization_domains_deleted on clerk.organization_domains (clerk_id) where deleted_at is not null;

comment on table clerk.organization_domains is 'One row a domain of an organization, deleted ones too. Kept by clerk-sync.';
comment on column clerk.organization_domains.clerk_id is 'Clerk''s ID of the domain, orgdmn_…; Clerk does not use an ID twice.';
comment on column clerk.organization_domains.organization_id is 'Clerk''s ID of the organization.';
comment on column clerk.organization_domains.name is 'The domain, as example.com.';
comment on column clerk.organization_domains.enrollment_mode is 'How people with an address of the domain join: manual_invitation, automatic_invitation, automatic_suggestion or enterprise_sso.';
comment on column clerk.organization_domains.affiliation_email_address is 'Address of the domain that proved the affiliation.';
comment on column clerk.organization_domains.affiliation_verification is 'How far the affiliation is proved.';
comment on column clerk.organization_domains.ownership_verification is 'How far the ownership of the domain is proved; null until it is tried.';
comment on column clerk.organization_domains.verification is 'The same as affiliation_verification, under its older name.';
comment on column clerk.organization_domains.total_pending_invitations is 'How many invitations by the domain were pending at the event: a snapshot.';
comment on column clerk.organization_domains.total_pending_suggestions is 'How many suggestions by the domain were pending at the event: a snapshot.';
comment on column clerk.organization_domains.created_at is 'When the domain was added to the organization.';
comment on column clerk.organization_domains.updated_at is 'When the domain was last changed at Clerk; first part of the version.';
comment on column clerk.organization_domains.deleted_at is 'When the domain was deleted at Clerk: the earliest organizationDomain.deleted. Never cleared.';
comment on column clerk.organization_domains.data is 'The domain object as Clerk sent it, less what is never stored.';
comment on column clerk.organization_domains.event_id is 'svix-id of the event that the profile came from; null in a row that only a delete has reached.';
comment on column clerk.organization_domains.occurred_at is 'Time of the event that the profile came from.';
comment on column clerk.organization_domains.synced_at is 'When clerk-sync last wrote this row.';
comment on column clerk.organization_domains.erased_at is 'Not used: a domain is no person.';
