-- The switch and the rate limit, as JSON.
select name, value::text as value from clerk.settings where name in ('pause', 'rate_limit')
