// A busy hour of made-up people: hundreds of real events, delivered and applied now, whose times are then spread over the hour.

import { until } from "./place.mjs";
import { chance, event, eventId, people } from "./people.mjs";

const EVENTS = 420;

// How many fail, and with which code.
export const FAILED = { implausible_time: 5, unstorable: 2, not_json: 1 };

export async function fill(place) {
  const now = Date.now();
  const dice = chance(7);
  const bodies = [];
  for (let n = 0; n < EVENTS; n++) {
    const isNew = n < people.length;
    const person = isNew ? people[n] : people[Math.floor(dice() * people.length)];
    const type = isNew ? "user.created" : dice() < 0.006 ? "user.deleted" : "user.updated";
    // Mostly in order; some come late.
    const late = dice() < 0.12 ? 1_800_000 : 0;
    bodies.push(event(type, person, now - 3_600_000 + Math.floor((n / EVENTS) * 3_500_000) - late));
  }
  const ahead = now + 400 * 86_400_000;
  for (let n = 0; n < FAILED.implausible_time; n++) bodies.push(event("user.updated", people[n], ahead));
  for (let n = 0; n < FAILED.unstorable; n++) {
    bodies.push(event("user.updated", people[n + 6], now, { public_metadata: { note: "a\u0000b" } }));
  }
  bodies.push("upstream connect error or disconnect/reset before headers");
  for (const [n, body] of bodies.entries()) await place.deliver(eventId(n), body);
  const count = async () => Number((await place.sql("select count(*) as n from clerk.events"))[0].n);
  await until("all are recorded", async () => (await count()) === bodies.length);
  await place.sql(`
    with spread as (
      select event_id, row_number() over (order by event_id) as n, (hashtext(event_id) & 1023) / 1024.0 as x,
             (hashtext(event_id || 'lag') & 1023) / 1024.0 as y
        from clerk.events
    )
    update clerk.events as e
       -- Whole milliseconds, as all times of events are.
       set received_at = date_trunc('milliseconds', now() - (3540 - 3530 * case when e.status = 'failed' then 0.35 + 0.6 * s.x
                                      else power(s.n / ${bodies.length + 1}.0, 0.8) end) * interval '1 second'),
           sent_at = now() - interval '1 hour'
      from spread as s where s.event_id = e.event_id`);
  await place.sql(`
    update clerk.events set sent_at = received_at - interval '40 milliseconds',
           processed_at = received_at + (5 + (hashtext(event_id || 'lag') & 255) / 11.0
             + case when (hashtext(event_id || 'slow') & 63) = 0 then 120 else 0 end) * interval '1 millisecond'`);
  return bodies.length;
}
