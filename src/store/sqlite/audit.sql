-- Rows of the audit, the newest first, from after the cursor on; see postgres/audit.sql. There are few: no filter needs an index.
select id, at, action, actor, address, forwarded_for, event_id, clerk_id, count, filter, reason
  from audit
 where (?1 is null or action = ?1)
   and (?2 is null or event_id = ?2)
   and (?3 is null or clerk_id = ?3)
   and id >= coalesce(?4, '')
   and (?5 is null or id < ?5)
   -- Where the page before ended.
   and (?6 is null or id < ?6)
 order by id desc
 limit ?7
