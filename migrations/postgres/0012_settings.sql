-- What the processes that share this database must know of each other, one row a thing.
create table clerk.settings (
    name text collate "C" primary key,
    value jsonb not null,
    updated_at timestamptz not null default now()
);

comment on table clerk.settings is 'What the processes that share this database must know of each other. Kept by clerk-sync.';
comment on column clerk.settings.name is 'worker_queue: the queue that workers take events from.';
comment on column clerk.settings.value is 'What it is. Never a user, a password or a token.';
comment on column clerk.settings.updated_at is 'When it last changed.';
