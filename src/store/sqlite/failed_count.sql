-- How many events wait as failed, of ?1 at most, from an index alone. SQLite takes one of some rows only where its condition is
-- repeated.
select count(*) as events from (select 1 from events where status <> 'applied' and status = 'failed' limit ?1)
