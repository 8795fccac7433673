-- The change feed: one row for each change of a row of a synced table, in the order in which readers see them.
create table clerk.changes (
    -- Drawn after the changed row is locked, so that the changes of one row are in order. A cached sequence would not be.
    id bigint generated always as identity (cache 1) primary key,
    table_name text not null,
    clerk_id text collate "C" not null,
    change text not null,
    fields text[] not null,
    event_id text collate "C",
    committed_at timestamptz not null
);
create index changes_by_row on clerk.changes (clerk_id, id);

comment on table clerk.changes is 'The change feed: one row a change of a synced row, for applications. Filled with CHANGE_FEED=on.';
comment on column clerk.changes.id is 'Ascending; of two changes of one row the later one has the greater. A reader must not take it for the order of commits: read the feed by GET /api/changes, `clerk-sync changes` or the exchange.';
comment on column clerk.changes.table_name is 'The table of the row.';
comment on column clerk.changes.clerk_id is 'The row''s Clerk ID.';
comment on column clerk.changes.change is 'created, updated, deleted or erased.';
comment on column clerk.changes.fields is 'The names of the columns that changed; never a value.';
comment on column clerk.changes.event_id is 'svix-id of the event that changed the row; null if no event did.';
comment on column clerk.changes.committed_at is 'When the row was changed, by the clock of the database.';

alter table clerk.processes add column change_feed boolean;
comment on column clerk.processes.change_feed is 'Whether it records changes of rows (CHANGE_FEED); null for a receiver, and for a version before the change feed.';
