-- Who acted on what, one row an action: replays, discards, erasures, pauses.
create table audit (
    -- Begins with the time in milliseconds, 12 hexadecimal digits: IDs are in the order of time.
    id text not null primary key,
    -- When it was asked for, in milliseconds since 1970.
    at integer not null,
    -- replayed, discarded, erased, forgotten, paused, resumed, rate_limited.
    action text not null,
    -- By what the actor was known: admin_token (over the API), dashboard (a session there), command.
    actor text not null,
    -- The address of the HTTP client; of a command the user and the host.
    address text,
    -- The client's address as a proxy names it; a client can write it too.
    forwarded_for text,
    -- The event, where it was about one.
    event_id text,
    -- The user, where it was about one.
    clerk_id text,
    -- Events that it was about; of an erasure the payloads that it emptied.
    count integer,
    -- The filter of the events as JSON, where one selected them; {} is every failed event.
    filter text,
    -- What the actor gave as the reason, or the value that was set.
    reason text
) strict;
