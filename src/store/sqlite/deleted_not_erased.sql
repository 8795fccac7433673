-- Users that were deleted before anybody said that such are to be erased.
select clerk_id from <table> where deleted_at is not null and erased_at is null order by clerk_id limit ?1
