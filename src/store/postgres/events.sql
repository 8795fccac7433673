-- Events by time of receipt, the newest or the oldest first, from after the cursor on, without their payloads. A part of the filter that is null
-- is not asked for.
select <event>, null::bytea as payload
  from clerk.events
 where ($1::text is null or status = $1::text)
   and ($2::text is null or event_type = $2::text)
   and ($3::text is null or clerk_id = $3::text)
   and ($9::text is null or error_code = $9::text)
   and ($10::text[] is null or event_id = any ($10::text[]))
   and ($4::timestamptz is null or received_at >= $4::timestamptz)
   and ($5::timestamptz is null or received_at < $5::timestamptz)
   -- Where the page before ended.
   and ($6::timestamptz is null or (received_at, event_id) <past> ($6::timestamptz, $7::text collate "C"))
 order by received_at <direction>, event_id <direction>
 limit $8::bigint
