-- Version 2 of the queue file: what finds the event that kills the process (session.rs). `file.rs` runs it once, after
-- version 1, in one transaction with the version.

-- How often the process died while it had this event alone.
alter table queue add column deaths integer not null default 0;

-- Few rows ever have one, so those that do are found at once in any backlog.
create index queue_deaths on queue (seq) where deaths > 0;

-- The process that takes events, or the last one that did.
create table session (
    id           integer primary key check (id = 1),
    running      integer not null check (running in (0, 1)), -- 0 after an end in good order
    unclean_ends integer not null,                           -- in a row, before this process
    alone        integer                                     -- the `seq` of the event that it has alone
) strict;

insert into session (id, running, unclean_ends) values (1, 0, 0);
