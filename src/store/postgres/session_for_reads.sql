-- The settings of a session that only reads.
set statement_timeout = '30s';
set lock_timeout = '5s';
set idle_in_transaction_session_timeout = '30s';
-- To compile a plan takes a second. The server chooses it by its estimate of the rows, of which a page then reads few.
set jit = off;
-- A part of a filter that is not asked for is null; only a plan made for the query can leave it out.
set plan_cache_mode = force_custom_plan
