-- What a record needs to know before the write: the version and the delete of its user's row, and the status of its own line.
select users.event_id is not null as has_profile, users.updated_at, users.occurred_at, users.event_id, users.deleted_at, users.erased_at is not null as erased,
       (select status from events where event_id = ?2) as line
  from (select 1)
  left join users on users.clerk_id = ?1
