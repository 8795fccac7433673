-- One row a domain of an organization. What it holds is a function of the set of its events, as in users.
--
-- Times are milliseconds since 1970, as Clerk sends them. JSON is text.
create table organization_domains (
    -- Clerk's ID of the domain, orgdmn_…; Clerk does not use an ID twice.
    clerk_id text not null primary key,

    -- Clerk's ID of the organization.
    organization_id text,
    -- The domain, as example.com.
    name text,
    -- How people with an address of the domain join: manual_invitation, automatic_invitation, automatic_suggestion or enterprise_sso.
    enrollment_mode text,
    -- Address of the domain that proved the affiliation.
    affiliation_email_address text,

    -- How far the affiliation is proved.
    affiliation_verification text,
    -- How far the ownership of the domain is proved; null until it is tried.
    ownership_verification text,
    -- The same as affiliation_verification, under its older name.
    verification text,

    -- How many invitations by the domain were pending at the event: a snapshot.
    total_pending_invitations integer,
    -- How many suggestions by the domain were pending at the event: a snapshot.
    total_pending_suggestions integer,

    -- When the domain was added to the organization.
    created_at integer,
    -- When the domain was last changed at Clerk; first part of the version.
    updated_at integer,
    -- When the domain was deleted at Clerk: the earliest organizationDomain.deleted. Never cleared.
    deleted_at integer,

    -- The domain object as Clerk sent it, less what is never stored.
    data text,

    -- svix-id of the event that the profile came from; null in a row that only a delete has reached.
    event_id text,
    -- Time of the event that the profile came from.
    occurred_at integer,
    -- When clerk-sync last wrote this row.
    synced_at integer not null,
    -- Not used: a domain is no person.
    erased_at integer,
    -- The lower case of texts that SQLite's lower() does not know, as a JSON object; null for most.
    folded text
) strict;

create index organization_domains_organization on organization_domains (organization_id, clerk_id);
create index organization_domains_name on organization_domains (coalesce(folded ->> '$.name', lower(name)));
create index organization_domains_deleted on organization_domains (clerk_id) where deleted_at is not null;
