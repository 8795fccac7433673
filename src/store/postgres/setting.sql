-- One setting, as JSON.
select value::text as value from clerk.settings where name = $1
