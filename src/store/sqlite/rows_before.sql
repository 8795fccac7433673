-- Users' rows before a write: the version, and the delete. `cross join`, so that each is looked up by its key.
select clerk_id, updated_at, occurred_at, event_id, deleted_at, erased_at is not null as is_erased
  from json_each(?1)
 cross join <table> on clerk_id = value
