-- Discards failed events. A row that is not failed any more is not changed.
update events
   set status = 'discarded', audit = <acted>
 where event_id in (select value from json_each(?1))
   and status = 'failed'
returning event_type
