-- The table of versions, in sqlx's form, so that sqlx's own tools can read it.
create table clerk._migrations (
    version bigint primary key,
    description text not null,
    installed_on timestamptz not null default now(),
    success boolean not null,
    checksum bytea not null,
    execution_time bigint not null
)
