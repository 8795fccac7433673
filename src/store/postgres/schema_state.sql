-- What the schema holds of what the migrations make, and whether the role sees all of it. Only the catalogs are read,
-- which every role may do; the names are looked up there, since to_regclass fails for a role that may not use the schema.
with found as (
    select c.oid, c.relname::text as name, c.relkind::text as kind
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'clerk' and c.relname in ('_migrations', <tables>, 'events', 'settings', 'processes', 'audit', 'active_users')
),
applies as (
    -- The policies that hold for this role: those of a role that it has, or of everybody.
    select polrelid, polcmd, polpermissive,
           coalesce(pg_get_expr(polqual, polrelid), 'true') = 'true'
               and coalesce(pg_get_expr(polwithcheck, polrelid), 'true') = 'true' as lets_all_pass
      from pg_policy
     where 0 = any (polroles) or exists (select from unnest(polroles) as of_role where of_role <> 0 and pg_has_role(of_role, 'usage'))
)
select
    current_setting('server_encoding') as encoding,
    coalesce((select array_agg(name || ' ' || kind order by name) from found), '{}') as found,
    -- Other names that the migrations use, of relations and of types, which a first migration must find free.
    coalesce((
        select array_agg(name || ' ' || kind order by name)
          from (
              select c.relname::text, c.relkind::text
                from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = 'clerk' and c.oid not in (select oid from found)
                 and c.relname in (<made>)
              union all
              -- Not the types of relations, nor those of arrays, which make way by themselves.
              select t.typname::text, 'T'
                from pg_type t join pg_namespace n on n.oid = t.typnamespace
               where n.nspname = 'clerk' and t.typrelid = 0 and not exists (select from pg_type e where e.typarray = t.oid)
                 and t.typname in ('_migrations', <made>)
          ) as other (name, kind)
    ), '{}') as taken,
    -- The columns that the versions are read from.
    exists (
        select from found join pg_attribute a on a.attrelid = oid
         where name = '_migrations' and attname in ('version', 'checksum', 'success') and not attisdropped
         having count(*) = 3
    ) as is_versioned,
    -- Tables of which row-level security hides rows or refuses them: unless every command is let through without a condition.
    coalesce((
        select array_agg(name order by name) from found
         where kind in ('r', 'p') and row_security_active(oid)
           and (exists (select from applies where polrelid = oid and not polpermissive and not lets_all_pass)
                or exists (
                    select from unnest(array['r', 'a', 'w', 'd']) as command
                     where not exists (
                         select from applies
                          where polrelid = oid and polpermissive and lets_all_pass and polcmd::text in ('*', command)
                     )
                ))
    ), '{}') as hidden
