-- The settings of a session that writes. The limits: a statement that hangs must not hold a batch for ever, and one that waits
-- for another's lock is better tried again.
set statement_timeout = '30s';
set lock_timeout = '5s';
set idle_in_transaction_session_timeout = '30s';
-- To compile a plan takes a second, and a statement here some milliseconds.
set jit = off;
-- A plan is made once: to plan a write again costs as much as the write itself, if it has one event. A plan that is kept must be
-- good for tables that were small when it was made, so none reads a table from end to end: all that is written is found by an
-- index.
set plan_cache_mode = force_generic_plan;
set enable_seqscan = off;
-- What is acknowledged must be on disk: a commit that is only in memory could be lost.
-- A stricter setting of the database, such as remote_apply, is kept.
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'
