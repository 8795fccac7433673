-- Every filter of a listing has an index, however few lines it lets through. Of the lines that there are most of, applied ones of type
-- user.updated, neither index has any: they are found by time, and cost nothing more to write.
--
-- Writes to events wait while the indexes are made (each reads the table once); reads do not, and events wait in the queue.
create index events_by_status on clerk.events (status, received_at, event_id) where status <> 'applied';
create index events_by_type on clerk.events (event_type, received_at, event_id) where event_type <> 'user.updated';
