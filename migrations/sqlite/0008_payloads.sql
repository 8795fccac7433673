-- Which events keep a payload, few among many unless EVENT_PAYLOADS is all: what is erased with a user is looked for by it.
create index events_payloads on events (clerk_id) where payload is not null;
