-- What is known of these users. Each is looked up by its key: a cross join keeps its order.
select clerk_id, updated_at, occurred_at, event_id, deleted_at, erased_at is not null as is_erased,
       email, phone, username, first_name, last_name, external_id,
       email_verified, phone_verified, banned, locked, two_factor_enabled, password_enabled
  from json_each(?1) as id
 cross join users on clerk_id = id.value
