import { Place, until } from "./place.mjs";
import { Browser, shoot, PHONE, hasSidewaysScroll } from "./browser.mjs";
import { people, event, chance } from "./people.mjs";
const place = await (await Place.withServers()).start();
const browser = await Browser.launch();
try {
  const empty = await browser.enter(place);
  await shoot(empty, "empty");
  await empty.goto("/users"); await shoot(empty, "users-empty");
  console.log(empty.faults);
  const t0 = Date.now();
  const dice = chance(7);
  const sends = [];
  for (let n = 0; n < 420; n++) {
    const person = people[Math.floor(dice() * people.length)];
    const type = n < people.length ? "user.created" : dice() < 0.02 ? "user.deleted" : "user.updated";
    const who = n < people.length ? people[n] : person;
    sends.push(place.deliver(`msg_3A${String(n).padStart(4,"0")}kqLw8Yt`, event(type, who, t0 - 3_600_000 + Math.floor(dice() * 3_500_000))));
    if (sends.length >= 20) { await Promise.all(sends); sends.length = 0; }
  }
  await Promise.all(sends);
  for (let n = 0; n < 5; n++) await place.deliver(`msg_3Bbad${n}`, event("user.updated", people[n], t0 + 400 * 86_400_000));
  await place.deliver("msg_3Bnul", event("user.updated", people[6], t0, { public_metadata: { note: "a\u0000b" } }));
  await place.deliver("msg_3Btxt", "this is <script>alert(1)</script> no JSON");
  await place.settled("msg_3Btxt", "failed");
  await until("all", async () => Number((await place.sql("select count(*) from clerk.events"))[0].count) === 427);
  await place.sql(`update clerk.events set received_at = now() - (3500 - 3500 * power((hashtext(event_id) & 65535) / 65535.0, 0.6)) * interval '1 second' where event_id not in ('msg_3Btxt')`);
  await place.sql(`update clerk.events set processed_at = received_at + (4 + (hashtext(event_id || 'x') & 255) / 8.0 + case when (hashtext(event_id || 'y') & 31) = 0 then 160 else 0 end) * interval '1 millisecond'`);
  for (const [scheme, viewport, tag] of [["light", undefined, "desktop"], ["dark", undefined, "dark"], ["light", PHONE, "phone"]]) {
    const page = await browser.enter(place, { colorScheme: scheme, viewport });
    for (const [path, name] of [["/", "overview"], ["/events", "events"], ["/events?status=failed", "failed"], ["/events/msg_3Bbad1", "event"], ["/events/msg_3Btxt", "event-text"], ["/events/replay?error_code=implausible_time", "replay"], ["/users", "users"], ["/users/" + people[2].id, "user"]]) {
      await page.goto(path);
      if (await hasSidewaysScroll(page)) console.log("sideways", name, tag);
      await shoot(page, `${name}-${tag}`);
    }
    console.log(page.faults);
    await page.context().close();
  }
  const login = await browser.visit(place); await login.goto("/"); await shoot(login, "login");
} finally { await browser.close(); await place.stop(); }
