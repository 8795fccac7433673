-- Writes nothing, and is refused where nothing may be written.
delete from clerk.events where false
