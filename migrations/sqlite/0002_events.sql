-- The record of every event that was taken from the queue, one line a svix-id. See migrations/postgres/0002_events.sql for
-- the meaning of each column; times are milliseconds since 1970.
create table events (
    event_id text not null primary key,
    event_type text not null,
    clerk_id text,
    occurred_at integer,
    sent_at integer not null,
    received_at integer not null,
    processed_at integer not null,
    status text not null check (status in ('applied', 'stale', 'failed', 'discarded')),
    deliveries integer not null default 1,
    attempts integer not null default 1,
    error text,
    error_code text,
    payload blob
) strict;

create index events_received_at on events (received_at, event_id);
create index events_clerk_id on events (clerk_id, received_at);
create index events_failed on events (received_at, event_id) where status = 'failed';
