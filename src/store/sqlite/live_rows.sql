-- Users that are not deleted, in the order of the key, from where the part before ended. Nothing is less than the empty text.
select clerk_id, created_at
  from <table>
 where deleted_at is null
   and clerk_id > ?1
 order by clerk_id
 limit ?2
