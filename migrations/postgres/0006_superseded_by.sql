-- Why an event is stale is known when it is applied, and only then: the next event takes the place of the one that won. A column
-- without a default: no line is written anew, whatever their number.
alter table clerk.events add column superseded_by text collate "C";
comment on column clerk.events.superseded_by is 'svix-id of the event whose newer version was there when this one came; of stale events alone.';
