-- As users_by_search.sql, for a text that many users match: reading them in order fills the page soon. The empty text that is joined to each
-- column prevents the server from using the indexes of those columns.
select <row>
  from clerk.users
 where ($1::text is null or lower(email) = lower($1::text))
   and ($2::text is null or phone = $2::text)
   and ($3::text is null or username = $3::text)
   and ($4::text is null or external_id = $4::text)
   and ($5::boolean is null or (deleted_at is not null) = $5::boolean)
   and (clerk_id = $8::text
        or lower(email) || '' like lower($9::text) || '%'
        or phone || '' like $10::text || '%'
        or username || '' like $9::text || '%'
        or username || '' like lower($9::text) || '%'
        or external_id || '' like $9::text || '%'
        or lower(first_name) || '' like lower($9::text) || '%'
        or lower(last_name) || '' like lower($9::text) || '%'
        or lower(first_name) || '' like lower($11::text) || '%' and lower(last_name) || '' like lower($12::text) || '%')
   -- Where the page before ended.
   and ($6::text is null or clerk_id < $6::text)
 order by clerk_id desc
 limit $7::bigint
