-- Forgets a process that stops.
delete from processes where process_id = ?1
