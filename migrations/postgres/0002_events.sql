-- The record of every event that was taken from the queue, one line a svix-id.
create table clerk.events (
    event_id text collate "C" primary key,
    event_type text not null,
    clerk_id text,
    occurred_at timestamptz,
    sent_at timestamptz not null,
    received_at timestamptz not null,
    processed_at timestamptz not null,
    status text not null check (status in ('applied', 'stale', 'failed', 'discarded')),
    deliveries bigint not null default 1,
    attempts bigint not null default 1,
    error text,
    error_code text,
    payload bytea
)
with (fillfactor = 95);

do $$
begin
    execute 'alter table clerk.events alter column payload set compression lz4';
exception when feature_not_supported or invalid_parameter_value or syntax_error then
    raise notice 'this server has no lz4: payloads are compressed with pglz';
end
$$;

-- Listings and pruning go by time of receipt, histories by user, and what waits for a person is few among many.
create index events_received_at on clerk.events (received_at, event_id);
create index events_clerk_id on clerk.events (clerk_id, received_at);
create index events_failed on clerk.events (received_at, event_id) where status = 'failed';

comment on table clerk.events is 'Every event once, and what became of it. Kept by clerk-sync.';
comment on column clerk.events.event_id is 'svix-id: the same over every retry and replay.';
comment on column clerk.events.event_type is 'user.created, user.updated, user.deleted, or user.unreadable where the body has none.';
comment on column clerk.events.clerk_id is 'The user it is about; null where it could not be read.';
comment on column clerk.events.occurred_at is 'The event''s own time.';
comment on column clerk.events.sent_at is 'svix-timestamp of the first delivery.';
comment on column clerk.events.received_at is 'When the first delivery was received.';
comment on column clerk.events.processed_at is 'When it was last tried.';
comment on column clerk.events.status is 'applied: it changed the row; stale: a newer version was there; failed: kept until it is replayed or discarded; discarded.';
comment on column clerk.events.deliveries is 'How often it was seen.';
comment on column clerk.events.attempts is 'How often it was tried.';
comment on column clerk.events.error is 'Why it failed.';
comment on column clerk.events.error_code is 'Why it failed, for programs.';
comment on column clerk.events.payload is 'The raw body of a failed event; of any event with EVENT_PAYLOADS=all.';
