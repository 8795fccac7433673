-- The events of one user, the newest first, from after the cursor on, each with the one that it was stale behind and when that occurred.
--
-- The newer event was recorded in superseded_by. Where it was not: for a delete it is the earliest delete, for a profile the one of the row.
with page as (
    select event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, deliveries, attempts,
           error, error_code, payload is not null as has_payload,
           case when status = 'stale' then coalesce(
               superseded_by,
               case when event_type in (<deletes>) then (
                        select earlier.event_id
                          from clerk.events as earlier
                         where earlier.clerk_id = $1
                           and earlier.event_type in (<deletes>)
                           and earlier.status = 'applied'
                           and earlier.occurred_at <= line.occurred_at
                         order by earlier.occurred_at, earlier.event_id
                         limit 1
                    )
                    else (select current.event_id from clerk.<table> as current where current.clerk_id = $1)
               end
           ) end as superseded_by
      from clerk.events as line
     where clerk_id = $1
       -- Where the page before ended.
       and ($2::timestamptz is null or (received_at, event_id) < ($2::timestamptz, $3::text collate "C"))
     order by received_at desc, event_id desc
     limit $4::bigint
)
select page.*, null::bytea as payload, newer.occurred_at as superseded_at
  from page
  left join clerk.events as newer on newer.event_id = page.superseded_by
 order by page.received_at desc, page.event_id desc
