-- One setting, as JSON.
select value from settings where name = ?1
