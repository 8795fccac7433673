-- As users_by_search.sql, for a text that many users match: reading them in order fills the page soon. The empty text that is joined to each
-- column prevents the server from using the indexes of those columns.
select <listed>, case when $9::boolean then data::text end as data
  from clerk.users
 where ($1::text is null or lower(email) = lower($1::text))
   and ($2::text is null or phone = $2::text)
   and ($3::text is null or username = $3::text)
   and ($4::text is null or external_id = $4::text)
   and ($5::boolean is null or (deleted_at is not null) = $5::boolean)
   and ($8::text[] is null or clerk_id = any ($8::text[]))
   and (clerk_id >= $10::text and clerk_id like $11::text || '%'
        or lower(email) || '' like lower($11::text) || '%'
        or phone || '' like $12::text || '%'
        or username || '' like $11::text || '%'
        or username || '' like lower($11::text) || '%'
        or external_id || '' like $11::text || '%'
        or lower(first_name) || '' like lower($11::text) || '%'
        or lower(last_name) || '' like lower($11::text) || '%'
        or lower(first_name) || '' like lower($13::text) || '%' and lower(last_name) || '' like lower($14::text) || '%')
   -- Where the page before ended.
   and ($6::text is null or clerk_id < $6::text)
 order by clerk_id desc
 limit $7::bigint
