-- What is known of these users. Each is looked up by its key.
select clerk_id, updated_at, occurred_at, event_id, deleted_at, erased_at is not null as is_erased,
       email, phone, username, first_name, last_name, external_id,
       email_verified, phone_verified, banned, locked, two_factor_enabled, password_enabled
  from unnest($1::text[]) as id
  join clerk.users on clerk_id = id
