-- One change joined to its row; nothing is returned where it alters nothing. The rule is that of postgres/apply.sql.
insert into users (
    clerk_id, email, email_verified, phone, phone_verified, username, first_name, last_name, image_url, external_id,
    locale, banned, locked, two_factor_enabled, password_enabled, public_metadata, private_metadata, unsafe_metadata,
    last_sign_in_at, last_active_at, legal_accepted_at, created_at, updated_at, deleted_at, data, event_id,
    occurred_at, synced_at
)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
        ?24, ?25, ?26, ?27, ?28)
on conflict (clerk_id) do update set
    -- The newest profile, all of its columns or none. A change without a profile has nulls for a version, which are greater
    -- than nothing.
    email = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.email else users.email end,
    email_verified = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.email_verified else users.email_verified end,
    phone = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.phone else users.phone end,
    phone_verified = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.phone_verified else users.phone_verified end,
    username = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.username else users.username end,
    first_name = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.first_name else users.first_name end,
    last_name = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.last_name else users.last_name end,
    image_url = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.image_url else users.image_url end,
    external_id = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.external_id else users.external_id end,
    locale = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.locale else users.locale end,
    banned = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.banned else users.banned end,
    locked = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.locked else users.locked end,
    two_factor_enabled = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.two_factor_enabled else users.two_factor_enabled end,
    password_enabled = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.password_enabled else users.password_enabled end,
    public_metadata = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.public_metadata else users.public_metadata end,
    private_metadata = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.private_metadata else users.private_metadata end,
    unsafe_metadata = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.unsafe_metadata else users.unsafe_metadata end,
    last_sign_in_at = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.last_sign_in_at else users.last_sign_in_at end,
    last_active_at = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.last_active_at else users.last_active_at end,
    legal_accepted_at = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.legal_accepted_at else users.legal_accepted_at end,
    created_at = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.created_at else users.created_at end,
    updated_at = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.updated_at else users.updated_at end,
    data = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.data else users.data end,
    event_id = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.event_id else users.event_id end,
    occurred_at = case when users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id) then excluded.occurred_at else users.occurred_at end,
    -- The earliest delete, never cleared. SQLite's min() is null where either is, so it is no help.
    deleted_at = case when excluded.deleted_at is not null and (users.deleted_at is null or excluded.deleted_at < users.deleted_at) then excluded.deleted_at else users.deleted_at end,
    synced_at = excluded.synced_at
-- Nothing new, nothing written.
where (excluded.event_id is not null and (users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id)))
   or (excluded.deleted_at is not null and (users.deleted_at is null or excluded.deleted_at < users.deleted_at))
returning event_id
