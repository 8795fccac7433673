-- The change feed: one row for each change of a row of a synced table, in the order of their commits.
create table changes (
    -- Never used twice, so that a cursor stays right after old rows are deleted.
    id integer primary key autoincrement,
    -- The table of the row, and its Clerk ID.
    table_name text not null,
    clerk_id text not null,
    -- created, updated, deleted or erased.
    change text not null,
    -- The names of the columns that changed, as a JSON array; never a value.
    fields text not null,
    -- svix-id of the event that changed the row; null if no event did.
    event_id text,
    -- When the row was changed, in milliseconds since 1970.
    committed_at integer not null
) strict;
create index changes_by_row on changes (clerk_id, id);

-- Whether the process records changes of rows, 1 or 0; null for a version before the change feed.
alter table processes add column change_feed integer;
