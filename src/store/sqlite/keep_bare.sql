-- Keeps, of the failed events of ?1, the bodies of ?2 in the place of their payloads.
update events
   set payload = (
           select cast(body.value as blob)
             from json_each(?1) as kept
             join json_each(?2) as body on body.key = kept.key
            where kept.value = events.event_id
       )
 where event_id in (select value from json_each(?1))
   and status = 'failed'
