-- Changes, a row for each user, joined to what is there; nothing is returned of one that alters nothing. The rule is that of
-- postgres/apply.sql, and this is a template too.
insert into users (
    clerk_id, email, email_verified, phone, phone_verified, username, first_name, last_name, image_url, external_id,
    locale, banned, locked, two_factor_enabled, password_enabled, public_metadata, private_metadata, unsafe_metadata,
    last_sign_in_at, last_active_at, legal_accepted_at, created_at, updated_at, deleted_at, data, event_id,
    occurred_at, synced_at, erased_at, folded
)
values <rows>
on conflict (clerk_id) do update set
    -- The newest profile, all of its columns or none. A change without a profile has nulls for a version, which are greater
    -- than nothing. Nothing of who is gone.
    {{ column = case when <gone> then null when <newer> then excluded.column else users.column end }},
    folded = case when <gone> then null when <newer> then excluded.folded else users.folded end,
    erased_at = case when <gone> then coalesce(users.erased_at, excluded.synced_at) end,
    -- The earliest delete, never cleared. SQLite's min() is null where either is, so it is no help.
    deleted_at = case when excluded.deleted_at is not null and (users.deleted_at is null or excluded.deleted_at < users.deleted_at) then excluded.deleted_at else users.deleted_at end,
    synced_at = excluded.synced_at
-- Nothing new, nothing written.
where (excluded.deleted_at is not null and (users.deleted_at is null or excluded.deleted_at < users.deleted_at))
   or case when <gone> then users.erased_at is null else excluded.event_id is not null and <newer> end
returning clerk_id, event_id, erased_at is not null as erased
