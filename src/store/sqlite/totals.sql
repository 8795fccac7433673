-- How many lines of each status and type.
select status, event_type, count(*) as lines
  from events
 group by status, event_type
