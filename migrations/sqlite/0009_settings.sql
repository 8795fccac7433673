-- What the processes that share this file must know of each other, one row a thing.
create table settings (
    -- worker_queue: the queue that workers take events from.
    name text not null primary key,
    -- What it is, as JSON. Never a user, a password or a token.
    value text not null,
    -- When it last changed, in milliseconds since 1970.
    updated_at integer not null
) strict;
