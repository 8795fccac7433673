-- What the queue is told is done must be on disk: a commit that is only in memory could be lost after it was acknowledged.
-- A database that waits for more than its own disk, such as remote_apply, keeps doing so.
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'
