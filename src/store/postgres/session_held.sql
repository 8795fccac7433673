-- As session_identity.sql, and the session is held until the end of the transaction.
begin; select pg_backend_pid() || ' ' || pg_postmaster_start_time()
