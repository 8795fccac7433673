-- Which of these rows are there. Each is looked up by its key.
select clerk_id
  from unnest($1::text[]) as id
  join clerk.<table> on clerk_id = id
