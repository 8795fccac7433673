-- The processes that work with this file, one row a start.
create table processes (
    -- Host, process ID and start, as one text.
    process_id text not null primary key,
    -- serve or dev.
    role text not null,
    version text not null,
    host text not null,
    pid integer not null,
    -- In milliseconds since 1970, both.
    started_at integer not null,
    -- The last sign of life. A row is deleted a day after it.
    seen_at integer not null
) strict;
