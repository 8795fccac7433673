-- The newest migration. Asked only where the table is there.
select max(version) as found from clerk._migrations where success
