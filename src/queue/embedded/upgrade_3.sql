-- Version 3 of the queue file: the trace of an event. `file.rs` runs it once, after version
-- 2, in one transaction with the version.

-- W3C's headers of these names; null if no traces are exported.
alter table queue add column traceparent text;
alter table queue add column tracestate text;
