-- Discards failed events. A row that is not failed any more is not changed.
update clerk.events
   set status = 'discarded', processed_at = now()
 where event_id = any ($1::text[])
   and status = 'failed'
returning event_type
