-- Deleted users, by the index that holds only them; otherwise as users.sql.
select clerk_id, email, email_verified, phone, phone_verified, username, first_name, last_name, image_url,
       external_id, locale, banned, locked, two_factor_enabled, password_enabled, public_metadata, private_metadata,
       unsafe_metadata, last_sign_in_at, last_active_at, legal_accepted_at, created_at, updated_at, deleted_at, data,
       event_id, occurred_at, synced_at, erased_at
  from users
 where deleted_at is not null
   -- Where the page before ended. Every text is less than any blob, so without a cursor nothing is left out.
   and clerk_id < coalesce(?6, x'')
 order by clerk_id desc
 limit ?7
