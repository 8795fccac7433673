-- What an event came to each time that it was tried, and who acted on it. Null for most events: of a single attempt the row itself says
-- everything.
-- The last 20 attempts as JSON, the oldest first: at, outcome, error_code, error.
alter table events add column attempts_log text;
-- The last 20 replays and discards of it as JSON, the oldest first: at, action, actor, address, forwarded_for.
alter table events add column audit text;
