-- Failed events by their code. None but failed lines are in it, so that it costs the others nothing.
create index events_by_code on clerk.events (error_code, received_at, event_id) where status = 'failed';
