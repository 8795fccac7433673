-- What the database alone can do: the newest profile wins, and each event leaves a line. Plain, without the program's own
-- care for deletes, failures and erasure. A template: the marks stand for the columns of the table, and parameters from 11 on.
with upserted as (
    insert into clerk.users as u (clerk_id, updated_at, data, event_id, occurred_at, <columns>)
    select * from unnest($1::text[], $2::timestamptz[], $3::jsonb[], $4::text[], $5::timestamptz[], <parameters>)
    on conflict (clerk_id) do update set
        <updates>,
        updated_at = excluded.updated_at, data = excluded.data, event_id = excluded.event_id,
        occurred_at = excluded.occurred_at, synced_at = now()
    where (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (u.updated_at, u.occurred_at, u.event_id)
)
insert into clerk.events (event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status)
select event_id, event_type, clerk_id, occurred_at, received_at, received_at, now(), 'applied'
  from unnest($6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[])
       as event (event_id, event_type, clerk_id, occurred_at, received_at)
on conflict (event_id) do nothing
