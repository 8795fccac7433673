-- The switch and the rate limit, as JSON.
select name, value from settings where name in ('pause', 'rate_limit')
