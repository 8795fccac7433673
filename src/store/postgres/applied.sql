-- The migrations that were made. Read only if their table exists.
select version, checksum, success from clerk._migrations order by version
