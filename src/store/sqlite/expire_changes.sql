-- Changes up to this ID are not kept: a cursor before it has expired. They are deleted from the oldest on.
insert into settings (name, value, updated_at)
values ('changes_expired', ?1, cast((julianday('now') - 2440587.5) * 86400000 as integer))
    on conflict (name) do update
   set value = max(cast(settings.value as integer), cast(excluded.value as integer)), updated_at = excluded.updated_at
