-- Failed events that a person has done with. A line that is not failed any more stays as it is.
update events
   set status = 'discarded', processed_at = ?2
 where event_id in (select value from json_each(?1))
   and status = 'failed'
returning event_type
