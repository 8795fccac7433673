-- The record of every event that was taken from the queue, one line a svix-id. Times are milliseconds since
-- 1970: datetime(received_at / 1000, 'unixepoch') shows one.
create table events (
    -- svix-id: the same over every retry and replay.
    event_id text not null primary key,
    -- user.created, user.updated, user.deleted, or user.unreadable where the body has none.
    event_type text not null,
    -- The user it is about; null where it could not be read.
    clerk_id text,
    -- The event's own time.
    occurred_at integer,
    -- svix-timestamp of the first delivery.
    sent_at integer not null,
    -- When the first delivery was received.
    received_at integer not null,
    -- When it was last tried.
    processed_at integer not null,
    -- applied: it changed the row; stale: a newer version was there; failed: kept until it is replayed or discarded; discarded.
    status text not null check (status in ('applied', 'stale', 'failed', 'discarded')),
    -- How often it was seen.
    deliveries integer not null default 1,
    -- How often it was tried.
    attempts integer not null default 1,
    -- Why it failed.
    error text,
    -- Why it failed, for programs.
    error_code text,
    -- The raw body of a failed event; of any event with EVENT_PAYLOADS=all.
    payload blob
) strict;

create index events_received_at on events (received_at, event_id);
create index events_clerk_id on events (clerk_id, received_at);
create index events_failed on events (received_at, event_id) where status = 'failed';
