-- One user.
select <row>
  from <table>
 where clerk_id = ?1
