-- Forgets the processes that gave no sign of life for a day.
delete from processes where seen_at < cast(unixepoch('subsec') * 1000 as integer) - 86400000
