-- A row of the audit, or more events for one that is there. ?1 is the row as JSON.
insert into audit (id, at, action, actor, address, forwarded_for, event_id, clerk_id, filter, reason, count)
values (
    ?1 ->> '$.id', ?2, ?1 ->> '$.action', ?1 ->> '$.actor', ?1 ->> '$.address', ?1 ->> '$.forwarded_for',
    ?1 ->> '$.event_id', ?1 ->> '$.clerk_id', ?1 ->> '$.filter', ?1 ->> '$.reason', ?3
)
on conflict (id) do update set count = audit.count + excluded.count
