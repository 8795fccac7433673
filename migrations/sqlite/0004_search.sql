-- Users are searched for by the beginning of what people know of them. SQLite compares text byte by byte, so that the indexes of the first
-- migration serve that too.
create index users_first_name on users (lower(first_name));
create index users_last_name on users (lower(last_name));
