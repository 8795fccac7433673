-- One write, in one statement and so in one transaction: every change joined to its row, every event recorded.
-- `template.rs` says what the marks stand for.
-- Parameters 1 to 6 are columns of changes that every table has, and those from 23 on the table's own: one element a row, sorted
-- by clerk_id. 7 to 20 and 22 are columns of records, one element an event, sorted by event_id. Sorted, so that two workers lock
-- rows in one order and never wait in a circle. 21 says whether the data of deleted rows is erased. With the change feed a last one has
-- the events that delete, one element a row.
with old as materialized (
    -- The rows as they were: what a record needs to say whether its event altered anything. Each is looked up by its key, once,
    -- whatever the planner knows of the table.
    select row.clerk_id, row.updated_at, row.occurred_at, row.event_id, row.deleted_at, row.erased_at, <alters> as is_altered<old_columns>
      from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $5::text[], $6::timestamptz[])
               as excluded (clerk_id, updated_at, deleted_at, event_id, occurred_at)
      join clerk.<table> as row on row.clerk_id = excluded.clerk_id
),
written as (
    insert into clerk.<table> as row (
        clerk_id, updated_at, deleted_at, data, event_id, occurred_at, erased_at, synced_at,
        <columns>
    )
    select clerk_id, updated_at, deleted_at, data::jsonb, event_id, occurred_at,
           case when $21 and deleted_at is not null then now() end,
           -- As the row was before, for the comparison below; a new row has the time of this statement.
           coalesce((select before.synced_at from clerk.<table> as before where before.clerk_id = change.clerk_id), now()),
           <stored>
      from unnest(
               $1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[], $6::timestamptz[],
               <parameters>
           ) as change (
               clerk_id, updated_at, deleted_at, data, event_id, occurred_at,
               <columns>
           )
    on conflict (clerk_id) do update set
        -- The newest profile, all of its columns or none. A change without a profile has nulls for a version, which are
        -- less than any other. An erased row keeps nothing personal.
        {{ column = case [[when <erased> then null]] when <newer> then excluded.column else row.column end }},
        erased_at = case when <erased> then coalesce(row.erased_at, now()) end,
        -- The earliest delete, never cleared: least() skips nulls.
        deleted_at = least(row.deleted_at, excluded.deleted_at),
        -- A microsecond more if another write has come between, so that this statement can see it.
        synced_at = case when row.synced_at = excluded.synced_at then now() else now() + interval '1 microsecond' end
    -- A change without effect is not written.
    where <alters>
    returning clerk_id, event_id, deleted_at, erased_at, synced_at <> now() as raced<written_columns>
),
<changed>
arrived as (
    -- Wakes those who wait for a row that is new. A payload of 8,000 bytes is refused: an empty one says that there are many.
    select pg_notify('clerk_sync_rows', case when octet_length(ids) < 7900 then ids else '' end) as notified
      from (
               select json_agg(clerk_id)::text as ids
                 from written
                where not exists (select from old where old.clerk_id = written.clerk_id)
           ) as new
     where ids is not null
),
emptied as (
    -- The payloads of the events of erased rows. One that holds an ID alone is not personal, and may still be replayed. The events
    -- of this write are handled below: no row is written twice. Nearly always no row is erased: that is checked first and by
    -- itself, so that no event is read then.
    update clerk.events
       set payload = null, status = case when status = 'failed' then 'discarded' else status end
     where (select bool_or(erased_at is not null) from written)
       and clerk_id in (select clerk_id from written where erased_at is not null)
       and payload is not null
       and ([[true or ]]status <> 'failed')
       and event_type not in (<bare_deletes>)
       and event_id <> all ($7::text[])
),
with_status as (
    select record.event_id, event_type, record.clerk_id, record.occurred_at, sent_at, received_at, record.updated_at,
           case
               -- A replay would change nothing: an erased row is never filled again.
               when error_code is not null and <withheld> then 'discarded'
               when error_code is not null then 'failed'
               -- A delete altered the row when this write's earliest one won, and it is earlier than the one that was there, and than
               -- those before it in this write. Where another write came between, `old` is not what was there: then only the earliest
               -- is known to have altered it.
               when delete_alters
                    and written.deleted_at = earliest
                    and case when raced then record.occurred_at = earliest
                             else old.deleted_at is null or record.occurred_at < old.deleted_at end then 'applied'
               -- A profile altered the row when this write's newest one won, and it is newer than the one that was there; the
               -- same holds of it.
               when profile_alters
                    and written.event_id = newest
                    and case when raced then record.event_id = newest
                             else old.event_id is null
                                  or (record.updated_at, record.occurred_at, record.event_id collate "C")
                                     > (old.updated_at, old.occurred_at, old.event_id) end then 'applied'
               else 'stale'
           end as status,
           deliveries, error, error_code, case when <withheld> then null else payload end as payload,
           -- For a profile that is stale: the version that is there now, which is no older. A row that this write did not alter is known
           -- only as it was before; if another write came between, the history reads the row later.
           case when record.updated_at is not null and event_type not in (<deletes>) then coalesce(
               written.event_id,
               case when (old.updated_at, old.occurred_at, old.event_id)
                         >= (record.updated_at, record.occurred_at, record.event_id collate "C") then old.event_id end
           ) end as current
      from unnest(
               $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[],
               $13::timestamptz[], $14::boolean[], $15::text[], $16::bigint[], $17::text[], $18::text[], $19::bytea[],
               $20::timestamptz[], $22::boolean[]
           ) as record (
               event_id, event_type, clerk_id, occurred_at, sent_at, received_at, updated_at, profile_alters, newest, deliveries,
               error, error_code, payload, earliest, delete_alters
           )
      left join old on old.clerk_id = record.clerk_id
      left join written on written.clerk_id = record.clerk_id
),
recorded as (
    insert into clerk.events as line (
        event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, deliveries, error, error_code,
        payload, superseded_by
    )
    select event_id, event_type, clerk_id, occurred_at, sent_at, received_at, now(), status, deliveries, error, error_code,
           payload, case when status = 'stale' then current end
      from with_status
     order by event_id collate "C"
    on conflict (event_id) do update set
        deliveries = line.deliveries + excluded.deliveries,
        -- A failed event is never taken for a duplicate: it is tried again. A discarded one comes back only to succeed.
        attempts      = case when <tried> then line.attempts + 1 else line.attempts end,
        -- The first attempt is in the columns of the row alone, as nearly every event's only one.
        attempts_log  = case when <tried> then <attempts> else line.attempts_log end,
        processed_at  = case when <tried> then excluded.processed_at else line.processed_at end,
        clerk_id      = case when <tried> then excluded.clerk_id else line.clerk_id end,
        occurred_at   = case when <tried> then excluded.occurred_at else line.occurred_at end,
        event_type    = case when <tried> then excluded.event_type else line.event_type end,
        error         = case when <tried> then excluded.error else line.error end,
        error_code    = case when <tried> then excluded.error_code else line.error_code end,
        payload       = case when <tried> then excluded.payload else line.payload end,
        status        = case when <tried> then excluded.status else line.status end,
        superseded_by = case when <tried> then excluded.superseded_by else line.superseded_by end
    -- now() is the time of this statement: a line that bears it was tried here, any other was only counted.
    returning event_id, status, processed_at = now() as tried
)
select event_id, status, tried<no_change> from recorded
<counted>
-- A trigger can drop a row without an error. Nothing may be committed then, and a negative number is an error here: of `limit`
-- where an event is missing, of `offset` where a row is. A row is missing as well where another write has come between and
-- left nothing to alter: `apply.rs` repeats the write, which sees that row in `old`.
 limit case when (select count(*) from recorded) < cardinality($7::text[]) then -1 end
offset case when (select count(*) from written) + (select count(*) from old where not is_altered) < cardinality($1::text[])
            then -1
            -- These make the notifications, which go out with the commit.
            else (select 0 * count(notified) from arrived)<notified> end
