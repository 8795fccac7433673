-- Rows that were deleted before ON_DELETE was set to scrub.
select clerk_id
  from clerk.<table>
 where deleted_at is not null
   and erased_at is null
 order by clerk_id
 limit $1::bigint
