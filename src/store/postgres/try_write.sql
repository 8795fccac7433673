-- A write to a row that no application looks at: it shows whether there is room, on the disk of the log too.
-- A row of users or events would call the triggers that an application has there.
insert into clerk.settings (name, value) values ('last_write_test', 'true')
on conflict (name) do update set value = excluded.value
returning 1::bigint as rows
