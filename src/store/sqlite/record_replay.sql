-- Records with failed events who replays them.
update events
   set audit = <acted>
 where event_id in (select value from json_each(?1))
   and status = 'failed'
returning event_type
