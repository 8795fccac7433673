-- One user.
select clerk_id, email, email_verified, phone, phone_verified, username, first_name, last_name, image_url,
       external_id, locale, banned, locked, two_factor_enabled, password_enabled, public_metadata, private_metadata,
       unsafe_metadata, last_sign_in_at, last_active_at, legal_accepted_at, created_at, updated_at, deleted_at, data,
       event_id, occurred_at, synced_at, erased_at
  from users
 where clerk_id = ?1
