-- One write, in one statement and so in one transaction: every change joined to its row, every event recorded.
-- Parameters 1 to 27 are columns of changes, one element a user, sorted by clerk_id; 28 to 40 are columns of records, one
-- element an event, sorted by event_id. Sorted, so that two workers lock rows in one order and never wait in a circle.
with old as (
    -- The rows as they were: what a record needs to say whether its event altered anything.
    select clerk_id, updated_at, occurred_at, event_id, deleted_at
      from clerk.users
     where clerk_id = any ($1::text[])
),
written as (
    insert into clerk.users as row (
        clerk_id, email, email_verified, phone, phone_verified, username, first_name, last_name, image_url, external_id,
        locale, banned, locked, two_factor_enabled, password_enabled, public_metadata, private_metadata, unsafe_metadata,
        last_sign_in_at, last_active_at, legal_accepted_at, created_at, updated_at, deleted_at, data, event_id, occurred_at
    )
    select clerk_id, email, email_verified, phone, phone_verified, username, first_name, last_name, image_url, external_id,
           locale, banned, locked, two_factor_enabled, password_enabled,
           public_metadata::jsonb, private_metadata::jsonb, unsafe_metadata::jsonb,
           last_sign_in_at, last_active_at, legal_accepted_at, created_at, updated_at, deleted_at, data::jsonb, event_id,
           occurred_at
      from unnest(
               $1::text[], $2::text[], $3::boolean[], $4::text[], $5::boolean[], $6::text[], $7::text[], $8::text[], $9::text[],
               $10::text[], $11::text[], $12::boolean[], $13::boolean[], $14::boolean[], $15::boolean[], $16::text[],
               $17::text[], $18::text[], $19::timestamptz[], $20::timestamptz[], $21::timestamptz[], $22::timestamptz[],
               $23::timestamptz[], $24::timestamptz[], $25::text[], $26::text[], $27::timestamptz[]
           ) as change (
               clerk_id, email, email_verified, phone, phone_verified, username, first_name, last_name, image_url,
               external_id, locale, banned, locked, two_factor_enabled, password_enabled, public_metadata,
               private_metadata, unsafe_metadata, last_sign_in_at, last_active_at, legal_accepted_at, created_at,
               updated_at, deleted_at, data, event_id, occurred_at
           )
    on conflict (clerk_id) do update set
        -- The newest profile, all of its columns or none. A change without a profile has nulls for a version, which are
        -- greater than nothing.
        email = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.email else row.email end,
        email_verified = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.email_verified else row.email_verified end,
        phone = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.phone else row.phone end,
        phone_verified = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.phone_verified else row.phone_verified end,
        username = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.username else row.username end,
        first_name = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.first_name else row.first_name end,
        last_name = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.last_name else row.last_name end,
        image_url = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.image_url else row.image_url end,
        external_id = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.external_id else row.external_id end,
        locale = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.locale else row.locale end,
        banned = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.banned else row.banned end,
        locked = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.locked else row.locked end,
        two_factor_enabled = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.two_factor_enabled else row.two_factor_enabled end,
        password_enabled = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.password_enabled else row.password_enabled end,
        public_metadata = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.public_metadata else row.public_metadata end,
        private_metadata = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.private_metadata else row.private_metadata end,
        unsafe_metadata = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.unsafe_metadata else row.unsafe_metadata end,
        last_sign_in_at = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.last_sign_in_at else row.last_sign_in_at end,
        last_active_at = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.last_active_at else row.last_active_at end,
        legal_accepted_at = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.legal_accepted_at else row.legal_accepted_at end,
        created_at = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.created_at else row.created_at end,
        updated_at = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.updated_at else row.updated_at end,
        data = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.data else row.data end,
        event_id = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.event_id else row.event_id end,
        occurred_at = case when row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id) then excluded.occurred_at else row.occurred_at end,
        -- The earliest delete, never cleared: least() skips nulls.
        deleted_at = least(row.deleted_at, excluded.deleted_at),
        synced_at = now()
    -- Nothing new, nothing written.
    where (excluded.event_id is not null and (row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id)))
       or least(row.deleted_at, excluded.deleted_at) is distinct from row.deleted_at
    returning clerk_id, event_id
),
recorded as (
    insert into clerk.events as line (
        event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, deliveries, error, error_code,
        payload
    )
    select record.event_id, event_type, record.clerk_id, record.occurred_at, sent_at, received_at, now(),
           case
               when error_code is not null then 'failed'
               -- Superseded by an event before it in this write.
               when not leads then 'stale'
               -- A delete altered the row when it is earlier than the one that was there.
               when record.updated_at is null
                    and written.clerk_id is not null
                    and (old.deleted_at is null or record.occurred_at < old.deleted_at) then 'applied'
               -- A profile altered the row when this write's newest one won, and it is newer than the one that was there.
               when record.updated_at is not null
                    and written.event_id = newest
                    and (old.event_id is null
                         or (record.updated_at, record.occurred_at, record.event_id collate "C")
                            > (old.updated_at, old.occurred_at, old.event_id)) then 'applied'
               else 'stale'
           end,
           deliveries, error, error_code, payload
      from unnest(
               $28::text[], $29::text[], $30::text[], $31::timestamptz[], $32::timestamptz[], $33::timestamptz[],
               $34::timestamptz[], $35::boolean[], $36::text[], $37::bigint[], $38::text[], $39::text[], $40::bytea[]
           ) as record (
               event_id, event_type, clerk_id, occurred_at, sent_at, received_at, updated_at, leads, newest, deliveries,
               error, error_code, payload
           )
      left join old on old.clerk_id = record.clerk_id
      left join written on written.clerk_id = record.clerk_id
     order by record.event_id collate "C"
    on conflict (event_id) do update set
        deliveries = line.deliveries + excluded.deliveries,
        -- A failed event is never taken for a duplicate: it is tried anew. A discarded one comes back only to succeed.
        attempts     = case when line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed' then line.attempts + 1 else line.attempts end,
        processed_at = case when line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed' then excluded.processed_at else line.processed_at end,
        clerk_id     = case when line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed' then excluded.clerk_id else line.clerk_id end,
        occurred_at  = case when line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed' then excluded.occurred_at else line.occurred_at end,
        event_type   = case when line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed' then excluded.event_type else line.event_type end,
        error        = case when line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed' then excluded.error else line.error end,
        error_code   = case when line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed' then excluded.error_code else line.error_code end,
        payload      = case when line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed' then excluded.payload else line.payload end,
        status       = case when line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed' then excluded.status else line.status end
    -- now() is the time of this statement: a line that bears it was tried here, any other was only counted.
    returning event_id, status, processed_at = now() as tried
)
select event_id, status, tried from recorded
