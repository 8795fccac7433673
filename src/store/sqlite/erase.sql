-- One user's row. One that is deleted bears erased_at from now on; another one is filled again by the next event.
update <table>
   set {{ column = null }},
       folded = null,
       erased_at = case when deleted_at is not null then coalesce(erased_at, ?2) end,
       synced_at = ?2
 where clerk_id = ?1
