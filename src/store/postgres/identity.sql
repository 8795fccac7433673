-- Which database it is. A copy that was restored from a dump is another one.
select (select system_identifier from pg_control_system()) || '/' || oid as identity from pg_database where datname = current_database()
