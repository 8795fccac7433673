-- How many rows; the deleted ones by the index that holds only them.
select (select count(*) from clerk.<table>) as rows,
       (select count(*) from clerk.<table> where deleted_at is not null) as deleted_rows
