-- Forgets a process that stops.
delete from clerk.processes where process_id = $1
