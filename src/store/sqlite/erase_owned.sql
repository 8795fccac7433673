-- Erases what this table holds of users: ?1 are their IDs, ?2 their e-mail addresses in lower case, ?3 the time if it is for good, else null.
update <table>
   set <nothing_personal>,
       erased_at = ?3,
       synced_at = ?4
 where <owned>
   and erased_at is null
returning clerk_id
