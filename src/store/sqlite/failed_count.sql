-- How many events wait as failed, of ?1 at most: the partial index holds them and nothing else.
select count(*) as events from (select 1 from events where status = 'failed' limit ?1)
