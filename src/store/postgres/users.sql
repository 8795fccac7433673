-- Users in an order that an index has, from after the cursor on. A part of the filter that is null is not asked for; the plan is made for each question (plan_cache_mode), so that the part that is there finds its index.
select <listed>, case when $9::boolean then data::text end as data
  from clerk.users
 where ($1::text is null or lower(email) = lower($1::text))
   and ($2::text is null or phone = $2::text)
   and ($3::text is null or username = $3::text)
   and ($4::text is null or external_id = $4::text)
   and ($5::boolean is null or (deleted_at is not null) = $5::boolean)
   and ($8::text[] is null or clerk_id = any ($8::text[]))
   -- Where the page before ended.
   and <after>
 order by <order>
 limit $7::bigint
