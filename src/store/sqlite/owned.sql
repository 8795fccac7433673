-- The rows of this table that hold data of users, and how many payloads go with each but for those of failed events; the parameters are
-- those of erase_owned.sql.
select clerk_id,
       (
           select count(*)
             from events as line
            where line.clerk_id = <table>.clerk_id
              and line.payload is not null
              and line.status <> 'failed'
              and line.event_type not in (<bare_deletes>)
       ) as payloads
  from <table>
 where <owned>
   and erased_at is null
