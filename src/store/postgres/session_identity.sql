-- Which server session answers.
select pg_backend_pid() || ' ' || pg_postmaster_start_time()
