-- Keeps a setting. One that is the same already stays as it is.
insert into clerk.settings (name, value)
values ($1, $2::jsonb)
    on conflict (name) do update set value = excluded.value, updated_at = now()
 where settings.value is distinct from excluded.value
