-- The objects of these rows.
select data::text as data
  from clerk.<table>
 where clerk_id = any ($1::text[])
   and data is not null
