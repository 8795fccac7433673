-- The migrations that were made. Asked only where their table is there.
select version, checksum, success from clerk._migrations order by version
