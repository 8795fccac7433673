-- Which events keep a payload, few among many unless EVENT_PAYLOADS is all: what is erased with a user is looked for by it. It is
-- made while writes wait: some seconds for each million lines of events.
create index events_payloads on clerk.events (clerk_id) where payload is not null;
