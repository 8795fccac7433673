-- Discards failed events, and records who did. An event that is not failed any more is not changed.
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
       set status = 'discarded', audit = <acted>
      from failed
     where line.event_id = failed.event_id
    returning event_type
),
done as (select count(*) as count from touched having count(*) > 0),
recorded as (<recorded>)
select event_type from touched
