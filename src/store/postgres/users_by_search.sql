-- Users by what a person typed: the beginning of something; of people alone case does not count. `like`, because an index
-- with text_pattern_ops serves it in any collation. Each beginning is looked for in the order of its index, which leaves the server no other
-- way, whatever it thinks of how many there are; search_is_common.sql has found that there are fewer than the limit. All IDs begin
-- alike: of these the newest are enough, since they are listed first.
with found as (
    (select clerk_id, email, phone, username, external_id, deleted_at
       from clerk.users
      where clerk_id >= $10::text
        and clerk_id like $11::text || '%'
        and ($1::text is null or lower(email) = lower($1::text))
        and ($2::text is null or phone = $2::text)
        and ($3::text is null or username = $3::text)
        and ($4::text is null or external_id = $4::text)
        and ($5::boolean is null or (deleted_at is not null) = $5::boolean)
        and ($8::text[] is null or clerk_id = any ($8::text[]))
        and ($6::text is null or clerk_id < $6::text)
      order by clerk_id desc
      limit $7::bigint)
    union all
    (select clerk_id, email, phone, username, external_id, deleted_at from clerk.users where lower(email) like lower($11::text) || '%' order by lower(email) using ~<~ limit $15::bigint)
    union all
    (select clerk_id, email, phone, username, external_id, deleted_at from clerk.users where phone like $12::text || '%' order by phone using ~<~ limit $15::bigint)
    union all
    (select clerk_id, email, phone, username, external_id, deleted_at from clerk.users where username like $11::text || '%' order by username using ~<~ limit $15::bigint)
    union all
    (select clerk_id, email, phone, username, external_id, deleted_at from clerk.users where username like lower($11::text) || '%' order by username using ~<~ limit $15::bigint)
    union all
    (select clerk_id, email, phone, username, external_id, deleted_at from clerk.users where external_id like $11::text || '%' order by external_id using ~<~ limit $15::bigint)
    union all
    (select clerk_id, email, phone, username, external_id, deleted_at from clerk.users where lower(first_name) like lower($11::text) || '%' order by lower(first_name) using ~<~ limit $15::bigint)
    union all
    (select clerk_id, email, phone, username, external_id, deleted_at from clerk.users where lower(last_name) like lower($11::text) || '%' order by lower(last_name) using ~<~ limit $15::bigint)
    union all
    select clerk_id, email, phone, username, external_id, deleted_at
      from (
               select clerk_id, email, phone, username, external_id, deleted_at, first_name
                 from clerk.users
                where lower(last_name) like lower($14::text) || '%'
                order by lower(last_name) using ~<~
                limit $15::bigint
           ) as namesake
     where lower(first_name) like lower($13::text) || '%'
),
page as (
    select distinct clerk_id
      from found
     where ($1::text is null or lower(email) = lower($1::text))
       and ($2::text is null or phone = $2::text)
       and ($3::text is null or username = $3::text)
       and ($4::text is null or external_id = $4::text)
       and ($5::boolean is null or (deleted_at is not null) = $5::boolean)
       and ($8::text[] is null or clerk_id = any ($8::text[]))
       -- Where the page before ended.
       and ($6::text is null or clerk_id < $6::text)
     order by clerk_id desc
     limit $7::bigint
)
select <listed>, case when $9::boolean then data::text end as data
  from page
  join clerk.users using (clerk_id)
 order by clerk_id desc
