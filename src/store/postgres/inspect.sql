-- What the server, the database and the role are like. Only the catalogs are read, which every role may do; the names are
-- looked up there, since to_regclass fails for a role that may not use the schema.
with
    schema as (
        select oid, has_schema_privilege(oid, 'usage') as usable,
               pg_has_role(nspowner, 'member') or has_schema_privilege(oid, 'create') as extendable
          from pg_namespace where nspname = 'clerk'
    ),
    tables as (
        select c.oid, c.relname, pg_has_role(c.relowner, 'member') as owned
          from pg_class c join schema on schema.oid = c.relnamespace
         where c.relname in (<tables>, 'events', 'settings', 'audit', 'processes', '_migrations')
    )
select
    current_setting('server_version') as version,
    current_setting('server_version_num')::int4 as version_number,
    current_setting('fsync') = 'on' as fsync,
    current_setting('full_page_writes') = 'on' as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit,
    coalesce((select 'lz4' = any (enumvals) from pg_settings where name = 'default_toast_compression'), false) as lz4,
    current_setting('transaction_read_only') = 'on' as read_only,
    coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as encrypted,
    -- Nothing for a connection through a socket of this machine.
    coalesce(inet_server_addr() <<= '127.0.0.0/8' or inet_server_addr() = '::1', true) as on_this_machine,
    current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8
        - (select count(*) from pg_stat_activity where backend_type = 'client backend') as connections_left,
    (extract(epoch from clock_timestamp()) * 1000)::int8 as now_ms,
    has_database_privilege(current_database(), 'create') as may_create,
    exists (select from schema) as has_schema,
    (select usable from schema) as may_use,
    (select extendable from schema) as may_extend,
    (select bool_and(owned) from tables) as owns_tables,
    (select has_table_privilege(oid, 'select') from tables where relname = '_migrations') as may_read_migrations,
    (select bool_and(has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert')
                     and has_table_privilege(oid, 'update') and has_table_privilege(oid, 'delete'))
       from tables where relname in (<tables>, 'events')) as may_write,
    (select has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert') and has_table_privilege(oid, 'update')
       from tables where relname = 'settings') as may_record,
    (select has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert')
            and has_table_privilege(oid, 'update') and has_table_privilege(oid, 'delete')
       from tables where relname = 'audit') as may_audit,
    (select has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert')
            and has_table_privilege(oid, 'update') and has_table_privilege(oid, 'delete')
       from tables where relname = 'processes') as may_be_seen
