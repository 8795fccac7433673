-- Discards the failed events of $1, with their payloads; and keeps, of those of $2, the bodies of $3 in their place.
with discarded as (
    update clerk.events
       set payload = null, status = 'discarded'
     where event_id = any ($1::text[])
       and status = 'failed'
    returning 1
),
bare as (
    update clerk.events as line
       set payload = convert_to(kept.body, 'UTF8')
      from unnest($2::text[], $3::text[]) as kept (event_id, body)
     where line.event_id = kept.event_id
       and line.status = 'failed'
    returning 1
)
select (select count(*) from discarded) + (select count(*) from bare) as payloads
