-- Who acted on what, one row an action.
create table clerk.audit (
    id text collate "C" primary key,
    at timestamptz not null,
    action text not null,
    actor text not null,
    address text,
    forwarded_for text,
    event_id text,
    clerk_id text,
    count bigint,
    filter jsonb,
    reason text
);
create index audit_by_action on clerk.audit (action, id);
create index audit_by_event on clerk.audit (event_id, id) where event_id is not null;
create index audit_by_user on clerk.audit (clerk_id, id) where clerk_id is not null;

comment on table clerk.audit is 'Who acted on what: replays, discards, erasures, pauses. Kept by clerk-sync.';
comment on column clerk.audit.id is 'Begins with the time in milliseconds, 12 hexadecimal digits: IDs are in the order of time.';
comment on column clerk.audit.at is 'When it was asked for.';
comment on column clerk.audit.action is 'replayed, discarded, erased, forgotten, paused, resumed, rate_limited.';
comment on column clerk.audit.actor is 'By what the actor was known: admin_token (over the API), dashboard (a session there), command.';
comment on column clerk.audit.address is 'The address of the HTTP client; of a command the user and the host.';
comment on column clerk.audit.forwarded_for is 'The client''s address as a proxy names it; a client can write it too.';
comment on column clerk.audit.event_id is 'The event, where it was about one.';
comment on column clerk.audit.clerk_id is 'The user, where it was about one.';
comment on column clerk.audit.count is 'Events that it was about; of an erasure the payloads that it emptied.';
comment on column clerk.audit.filter is 'The filter of the events, where one selected them; {} is every failed event.';
comment on column clerk.audit.reason is 'What the actor gave as the reason, or the value that was set.';
