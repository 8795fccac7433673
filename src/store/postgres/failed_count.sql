-- How many events wait as failed, of $1 at most: the partial index holds them and nothing else.
select count(*) as events from (select from clerk.events where status = 'failed' limit $1) as failed
