-- Of the rows with these IDs, erases those whose user was erased before they were written.
update <table>
   set <nothing_personal>, erased_at = ?2, synced_at = ?2
 where clerk_id in (select value from json_each(?1))
   and erased_at is null
   and <owner_is_erased>
returning clerk_id
