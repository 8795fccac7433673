-- Version 1 of the queue file. `file.rs` runs it once, in one transaction with the version.

-- An event waits here from its acknowledgement to Clerk until a worker has applied it. One event may be here more
-- than once (Svix sends an event again if it got no answer): the worker detects repeats.
create table queue (
    -- `autoincrement`, because a plain key would be given again once the greatest row is deleted, and the consumers'
    -- cursor would pass over the new row (in_flight.rs).
    seq         integer primary key autoincrement,
    event_id    text    not null check (length(event_id) between 1 and 255),
    event_type  text    not null,
    sent_at     integer not null check (sent_at between 1 and 253402300799999),     -- milliseconds since 1970
    received_at integer not null check (received_at between 1 and 253402300799999), -- milliseconds since 1970
    body        blob    not null
) strict;

-- How many rows wait. Counting them would read every page of a long backlog; triggers keep the number right for
-- every writer.
create table depth (
    id     integer primary key check (id = 1),
    events integer not null
) strict;

insert into depth (id, events) values (1, 0);

create trigger queue_insert after insert on queue begin
    update depth set events = events + 1;
end;

create trigger queue_delete after delete on queue begin
    update depth set events = events - 1;
end;
