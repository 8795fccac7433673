-- What a change is compared with, of these rows. Each is looked up by its key: a cross join keeps its order.
select clerk_id, updated_at, occurred_at, event_id, deleted_at, erased_at is not null as is_erased,
       <compared>
  from json_each(?1) as id
 cross join <table> on clerk_id = id.value
