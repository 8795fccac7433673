-- Failed events that a person has done with. A line that is not failed any more stays as it is.
update clerk.events
   set status = 'discarded', processed_at = now()
 where event_id = any ($1::text[])
   and status = 'failed'
returning event_type
