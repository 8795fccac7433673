-- The table of versions. Of sqlx's form, so that it can be read by what sqlx brings.
create table clerk._migrations (
    version bigint primary key,
    description text not null,
    installed_on timestamptz not null default now(),
    success boolean not null,
    checksum bytea not null,
    execution_time bigint not null
)
