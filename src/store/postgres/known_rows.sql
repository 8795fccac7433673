-- What a change is compared with, of these rows. Each is looked up by its key.
select clerk_id, updated_at, occurred_at, event_id, deleted_at, erased_at is not null as is_erased,
       <compared>
  from unnest($1::text[]) as id
  join clerk.<table> on clerk_id = id
