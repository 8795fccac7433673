-- Records who replays failed events, before they are published.
with failed as materialized (
    -- Locked in the order of all writes, so that none waits for another in a circle.
    select event_id
      from clerk.events
     where event_id = any ($1::text[])
       and status = 'failed'
     order by event_id
       for update
),
touched as (
    update clerk.events as line
       set audit = <acted>
      from failed
     where line.event_id = failed.event_id
    returning 1
),
done as (select count(*) as count from touched having count(*) > 0)
<recorded>
