-- Version 3 of the queue file: the trace that an event is a part of goes along with it. `file.rs` runs it once, after version
-- 2, in one transaction with the version.

-- W3C's headers of these names; null where no traces are exported.
alter table queue add column traceparent text;
alter table queue add column tracestate text;
