-- Which of these rows are there. Each is looked up by its key: a cross join keeps its order.
select clerk_id
  from json_each(?1) as id
 cross join <table> on clerk_id = id.value
