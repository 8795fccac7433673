-- How many events wait as failed, of $1 at most, from an index alone.
select count(*) as events from (select from clerk.events where status = 'failed' limit $1) as failed
