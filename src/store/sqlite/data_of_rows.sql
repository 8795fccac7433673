-- The objects of these rows.
select data
  from json_each(?1)
 cross join <table> on clerk_id = value
 where data is not null
