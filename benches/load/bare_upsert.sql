-- What the database alone can do: the newest profile wins, and each event leaves a line. Plain, without the program's own
-- care for deletes, failures and erasure.
with upserted as (
    insert into clerk.users as u (
        clerk_id, email, email_verified, phone, phone_verified, username, first_name, last_name, image_url, external_id,
        locale, banned, locked, two_factor_enabled, password_enabled, public_metadata, private_metadata, unsafe_metadata,
        last_sign_in_at, last_active_at, legal_accepted_at, created_at, updated_at, data, event_id, occurred_at
    )
    select * from unnest(
        $1::text[], $2::text[], $3::boolean[], $4::text[], $5::boolean[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::text[], $11::text[], $12::boolean[], $13::boolean[], $14::boolean[], $15::boolean[], $16::jsonb[],
        $17::jsonb[], $18::jsonb[], $19::timestamptz[], $20::timestamptz[], $21::timestamptz[], $22::timestamptz[],
        $23::timestamptz[], $24::jsonb[], $25::text[], $26::timestamptz[]
    )
    on conflict (clerk_id) do update set
        email = excluded.email, email_verified = excluded.email_verified, phone = excluded.phone,
        phone_verified = excluded.phone_verified, username = excluded.username, first_name = excluded.first_name,
        last_name = excluded.last_name, image_url = excluded.image_url, external_id = excluded.external_id,
        locale = excluded.locale, banned = excluded.banned, locked = excluded.locked,
        two_factor_enabled = excluded.two_factor_enabled, password_enabled = excluded.password_enabled,
        public_metadata = excluded.public_metadata, private_metadata = excluded.private_metadata,
        unsafe_metadata = excluded.unsafe_metadata, last_sign_in_at = excluded.last_sign_in_at,
        last_active_at = excluded.last_active_at, legal_accepted_at = excluded.legal_accepted_at,
        created_at = excluded.created_at, updated_at = excluded.updated_at, data = excluded.data,
        event_id = excluded.event_id, occurred_at = excluded.occurred_at, synced_at = now()
    where (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (u.updated_at, u.occurred_at, u.event_id)
)
insert into clerk.events (event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status)
select event_id, event_type, clerk_id, occurred_at, received_at, received_at, now(), 'applied'
  from unnest($27::text[], $28::text[], $29::text[], $30::timestamptz[], $31::timestamptz[])
       as event (event_id, event_type, clerk_id, occurred_at, received_at)
on conflict (event_id) do nothing
