-- One user.
select <row>
  from clerk.<table>
 where clerk_id = $1
