-- Users of whom something that is looked up ignoring case is not ASCII, in the order of the key, from where the part before ended.
select clerk_id, email, first_name, last_name
  from users
 where clerk_id > ?1
   and (email glob '*[^ -~]*' or first_name glob '*[^ -~]*' or last_name glob '*[^ -~]*')
 order by clerk_id
 limit ?2
