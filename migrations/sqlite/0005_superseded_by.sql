-- Why an event is stale is known when it is applied, and only then.
-- svix-id of the event whose newer version was there when this one came; of stale events alone.
alter table events add column superseded_by text;
