-- Version 2 of the queue file: finds the event that kills the process (crash_guard.rs). `file.rs` runs it once, after
-- version 1, in one transaction with the version.

-- How often the process crashed while this event was isolated.
alter table queue add column deaths integer not null default 0;

-- Few rows ever have one, so those that do are found at once in any backlog.
create index queue_deaths on queue (seq) where deaths > 0;

-- The process that takes events, or the last one that did.
create table session (
    id           integer primary key check (id = 1),
    running      integer not null check (running in (0, 1)), -- 0 after a shutdown in order
    unclean_ends integer not null,                           -- crashes in a row, before this process
    alone        integer                                     -- the `seq` of the isolated event
) strict;

insert into session (id, running, unclean_ends) values (1, 0, 0);
