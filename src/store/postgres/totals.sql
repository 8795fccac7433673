-- How many lines of each status and type.
select status, event_type, count(*) as lines
  from clerk.events
 group by status, event_type
