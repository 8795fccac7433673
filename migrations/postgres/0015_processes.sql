-- The processes that work with this database, one row a start. A worker shares a rate limit with the others that are here.
create table clerk.processes (
    process_id text collate "C" primary key,
    role text not null,
    version text not null,
    host text not null,
    pid bigint not null,
    started_at timestamptz not null,
    seen_at timestamptz not null default now()
);

comment on table clerk.processes is 'The processes that work with this database, one row a start. Kept by clerk-sync.';
comment on column clerk.processes.process_id is 'Host, process ID and start, as one text.';
comment on column clerk.processes.role is 'serve, worker or dev; receiver for one that a worker has had an event from.';
comment on column clerk.processes.version is 'The version of clerk-sync.';
comment on column clerk.processes.host is 'The name of the machine or the container.';
comment on column clerk.processes.pid is 'The process ID there.';
comment on column clerk.processes.started_at is 'When it started, by its own clock.';
comment on column clerk.processes.seen_at is 'The last sign of life, by the clock of the database. A row is deleted a day after it.';
