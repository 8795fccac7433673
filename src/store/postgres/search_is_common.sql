-- Whether so many users or more begin with it in some way. Counting ends with the first way that has them, and with so many.
select (select count(*) from (select 1 from clerk.users where lower(email) like lower($1::text) || '%' order by lower(email) using ~<~ limit $4::bigint) as begun) >= $4::bigint
       or (select count(*) from (select 1 from clerk.users where phone like $2::text || '%' order by phone using ~<~ limit $4::bigint) as begun) >= $4::bigint
       or (select count(*) from (select 1 from clerk.users where username like $1::text || '%' order by username using ~<~ limit $4::bigint) as begun) >= $4::bigint
       or (select count(*) from (select 1 from clerk.users where username like lower($1::text) || '%' order by username using ~<~ limit $4::bigint) as begun) >= $4::bigint
       or (select count(*) from (select 1 from clerk.users where external_id like $1::text || '%' order by external_id using ~<~ limit $4::bigint) as begun) >= $4::bigint
       or (select count(*) from (select 1 from clerk.users where lower(first_name) like lower($1::text) || '%' order by lower(first_name) using ~<~ limit $4::bigint) as begun) >= $4::bigint
       or (select count(*) from (select 1 from clerk.users where lower(last_name) like lower($1::text) || '%' order by lower(last_name) using ~<~ limit $4::bigint) as begun) >= $4::bigint
       or (select count(*) from (select 1 from clerk.users where lower(last_name) like lower($3::text) || '%' order by lower(last_name) using ~<~ limit $4::bigint) as begun) >= $4::bigint as is_common
