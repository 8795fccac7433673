-- Changes joined to their rows, one for each row; returns those that alter their row. The rule is that of
-- postgres/apply.sql.
insert into <table> (
    clerk_id, updated_at, deleted_at, data, event_id, occurred_at, synced_at, erased_at, folded,
    <columns>
)
values <rows>
on conflict (clerk_id) do update set
    -- The newest profile, all of its columns or none. A change without a profile has nulls for a version, which are less
    -- than any other. An erased row keeps nothing personal.
    {{ column = case [[when <erased> then null]] when <newer> then excluded.column else <table>.column end }},
    folded = case when <erased> then null when <newer> then excluded.folded else <table>.folded end,
    erased_at = case when <erased> then coalesce(<table>.erased_at, excluded.synced_at) end,
    -- The earliest delete, never cleared. SQLite's min() is null where either is, so it is no help.
    deleted_at = case when excluded.deleted_at is not null and (<table>.deleted_at is null or excluded.deleted_at < <table>.deleted_at) then excluded.deleted_at else <table>.deleted_at end,
    synced_at = excluded.synced_at
-- A change without effect is not written.
where (excluded.deleted_at is not null and (<table>.deleted_at is null or excluded.deleted_at < <table>.deleted_at))
   or case [[when <erased> then <table>.erased_at is null]] when excluded.event_id is not null then <newer> end
returning clerk_id, event_id, erased_at is not null as is_erased
