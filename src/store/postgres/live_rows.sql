-- Users that are not deleted, in the order of the key.
select clerk_id, created_at
  from clerk.<table>
 where deleted_at is null
   -- Where the part before ended.
   and ($1::text is null or clerk_id > $1::text)
 order by clerk_id
 limit $2::bigint
