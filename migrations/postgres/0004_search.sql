-- Users are searched for by the beginning of what people know of them. An index with text_pattern_ops serves `like 'ada%'` and
-- equality alike, whatever the collation of the database, so these take the place of those of the first migration, which 0005 drops.
-- None is on anything that changes with every event.
--
-- Writes to users wait while the indexes are made, 17 s for a million users on a busy machine with two cores; reads do not, and events wait in the queue. The old
-- ones are not dropped here: a transaction that asks for a stronger lock than it has could meet a write in a circle.
create index users_email_prefix on clerk.users (lower(email) text_pattern_ops);
create index users_phone_prefix on clerk.users (phone text_pattern_ops);
create index users_username_prefix on clerk.users (username text_pattern_ops);
create index users_external_id_prefix on clerk.users (external_id text_pattern_ops);
create index users_first_name_prefix on clerk.users (lower(first_name) text_pattern_ops);
create index users_last_name_prefix on clerk.users (lower(last_name) text_pattern_ops);
