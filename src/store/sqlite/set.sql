-- Keeps a setting. One that is the same already stays as it is.
insert into settings (name, value, updated_at)
values (?1, ?2, ?3)
    on conflict (name) do update set value = excluded.value, updated_at = excluded.updated_at
 where settings.value is not excluded.value
