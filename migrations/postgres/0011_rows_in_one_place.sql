-- The whole row of a user on one page, with room beside it for its next version. A row has 2 to 4 KB, and PostgreSQL moves the large
-- columns of a row of more than 2 KB to a table of their own: then each update writes that table and its index too, and in a large
-- table every one of those pages is another one, which goes into the write-ahead log as a whole after each checkpoint. With 300,000
-- users an update costs half of what it did, and no more than with 5,000; a user takes about 8 KB of disk in the place of 4.
--
-- Holds for rows as they are written: nothing is written anew here.
alter table clerk.users set (fillfactor = 60, toast_tuple_target = 4080);
