-- Failed events that a person has done with. A line that is not failed any more stays as it is.
with done as (
    update clerk.events
       set status = 'discarded', processed_at = now()
     where event_id = any ($1::text[])
       and status = 'failed'
    returning 1
)
select count(*) as lines from done
