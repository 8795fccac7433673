-- What an event came to each time that it was tried, and who acted on it. Null for most events: of a single attempt the row itself says
-- everything. Columns without a default: no row is rewritten, whatever their number.
alter table clerk.events
    add column attempts_log jsonb,
    add column audit jsonb;
comment on column clerk.events.attempts_log is 'The last 20 attempts, the oldest first: at, outcome, error_code, error. Null after a single attempt, which the row itself describes.';
comment on column clerk.events.audit is 'The last 20 replays and discards of it, the oldest first: at, action, actor, address, forwarded_for.';
