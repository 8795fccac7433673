select 1 as clerk_sync_named
