-- Deletes the oldest changes, and keeps the ID of the last of them: a cursor before it has expired.
with gone as (
    delete from clerk.changes
     where id in (
               select id
                 from clerk.changes
                where not $2::boolean
                   or id <= coalesce((select (value #>> '{}')::bigint from clerk.settings where name = 'changes_published'), 0)
                order by id
                limit $3::bigint
                  -- Two workers that prune do not wait for each other.
                  for update skip locked
           )
       and committed_at < $1::timestamptz
    returning id
),
kept as (
    insert into clerk.settings (name, value)
    select 'changes_expired', to_jsonb(max(id)) from gone having count(*) > 0
        on conflict (name) do update
       set value = to_jsonb(greatest((settings.value #>> '{}')::bigint, (excluded.value #>> '{}')::bigint)), updated_at = now()
    returning 1
)
select count(*) as changes from gone
