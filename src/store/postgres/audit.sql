-- Rows of the audit, the newest first, from after the cursor on. A part of the filter that is null is not asked for. IDs begin with the
-- time: those of a span of time lie between two texts.
select id, at, action, actor, address, forwarded_for, event_id, clerk_id, count, filter::text as filter, reason
  from clerk.audit
 where ($1::text is null or action = $1::text)
   and ($2::text is null or event_id = $2::text)
   and ($3::text is null or clerk_id = $3::text)
   and ($4::text is null or id >= $4::text)
   and ($5::text is null or id < $5::text)
   -- Where the page before ended.
   and ($6::text is null or id < $6::text)
 order by id desc
 limit $7::bigint
