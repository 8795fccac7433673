-- Deletes the oldest rows of the audit, but never those that prove an erasure.
delete from audit
 where id in (
           select id
             from audit
            where id < ?1
              and action not in ('erased', 'forgotten')
            order by id
            limit ?2
       )
