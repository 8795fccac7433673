// One event in a real browser: what it changed, its payload as JSON, and the buttons of a failed one.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Browser, PHONE, hasSidewaysScroll, leave, shoot } from "./browser.mjs";
import { event, people } from "./people.mjs";
import { Place } from "./place.mjs";

const ada = people[0];
const BODY = JSON.stringify(event("user.updated", ada, 1_795_172_400_000, {
  last_name: "Lovelace", zeta: { b: 1, a: [1, { deep: true }] }, alpha: "x\u202ey\u200bz\t\"\\ é", public_metadata: { plan: "team" },
}));

let browser;
let place;
before(async () => {
  browser = await Browser.launch();
  place = await Place.embedded().start("serve", { EVENT_PAYLOADS: "all" });
  const send = async (id, body, status) => {
    await place.deliver(id, body);
    await place.settled(id, status);
  };
  await send("msg_1", event("user.created", ada, 1_795_172_300_000), "applied");
  await send("msg_2", BODY, "applied");
  await send("msg_3", event("user.updated", ada, 1_795_172_350_000), "stale");
  await send("msg_text", "no JSON at all", "failed");
  await send("msg_long", JSON.stringify(event("user.updated", people[1], 1_795_172_400_000, { note: "é".repeat(100_000) })), "applied");
  await send("msg_deep", JSON.stringify(event("user.updated", people[2], 1_795_172_400_000)).replace('"event"', "[".repeat(500) + "]".repeat(500)), "applied");
});
after(async () => {
  await place?.stop();
  await browser?.close();
});

test("what changed is shown by column, with signs and words", async () => {
  const page = await browser.enter(place);
  await page.goto("/events/msg_2");
  const change = page.locator("#change");
  const row = (column) => change.getByRole("row", { name: column });
  assert.match(await row("last_name").innerText(), /−\s*"Okafor"\s*\+\s*"Lovelace"/);
  assert.match(await row("public_metadata.plan").innerText(), /−\s*"pro"\s*\+\s*"team"/);
  assert.match(await row("last_sign_in_at").innerText(), /UTC[^]*UTC/);
  assert.equal(await row("first_name").count(), 0);
  await change.getByRole("link", { name: "msg_1" }).click();
  await page.getByText("This is the first version.").waitFor();
  await page.goto("/events/msg_3");
  await change.getByText("the row had a newer version").waitFor();
  await change.getByRole("link", { name: "msg_2" }).waitFor();
  await page.goto(`/users/${ada.id}`);
  const line = page.locator("#history .history > li", { has: page.locator(".note .id", { hasText: /^msg_2$/ }) });
  assert.match(await line.innerText(), /last_name[^]*"Okafor"[^]*"Lovelace"/);
  await leave(page);
});

// The text that a reader gets who marks the whole payload and copies it.
function marked(page) {
  return page.evaluate(() => {
    const selection = getSelection();
    selection.selectAllChildren(document.querySelector(".payload"));
    const text = selection.toString();
    selection.removeAllRanges();
    return text;
  });
}

test("a payload is JSON as it is shown, folds, and is copied as it came", async () => {
  const page = await browser.enter(place);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.goto("/events/msg_2");
  const shown = await marked(page);
  assert.deepEqual(JSON.parse(shown), JSON.parse(BODY), shown);
  assert(shown.includes(String.raw`x\u202ey\u200bz\t\"\\ é`), shown);
  assert.match(await page.locator(".payload").innerText(), /1795172400000,?\s+2026-11-20 11:00:00\sUTC/);
  const deep = page.locator(".payload").getByText('"deep"');
  await page.locator(".payload summary", { hasText: '"zeta"' }).click();
  assert.equal(await deep.isVisible(), false, "it is folded");
  await page.locator(".payload").getByText("2 members").first().waitFor();
  await shoot(page, "event-json");
  await page.locator(".payload summary", { hasText: '"zeta"' }).press("Enter");
  assert(await deep.isVisible());

  await page.getByRole("button", { name: "Copy" }).click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), BODY);

  await page.getByRole("link", { name: "Sort the names" }).click();
  const names = Object.keys(JSON.parse(await marked(page)).data);
  assert.deepEqual(names, [...names].sort());
  await page.getByRole("link", { name: "Names as they came" }).click();
  assert.deepEqual(Object.keys(JSON.parse(await marked(page)).data), Object.keys(JSON.parse(BODY).data));

  await page.goto(`/users/${ada.id}`);
  await page.locator("#data").getByRole("button", { name: "Copy" }).click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  assert.deepEqual(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())), JSON.parse(BODY).data);
  await leave(page);
});

test("it folds without scripts, and what is long or deep is plain text", async () => {
  const page = await browser.enter(place, { javaScriptEnabled: false, viewport: PHONE });
  await page.goto("/events/msg_2");
  await page.locator(".payload summary", { hasText: '"zeta"' }).click();
  assert.equal(await page.locator(".payload").getByText('"deep"').isVisible(), false);
  assert.equal(await page.getByRole("button", { name: "Copy" }).count(), 0, "a script copies");
  for (const [id, isCut] of [["msg_long", true], ["msg_deep", false]]) {
    await page.goto(`/events/${id}`);
    assert.equal(await page.locator(".payload details").count(), 0, id);
    assert.equal(await page.getByText("Only the beginning is shown.").count(), Number(isCut), id);
    assert.equal(await hasSidewaysScroll(page), false, id);
  }
  await leave(page);
});

test("a replay that would fail again is not the main button", async () => {
  const page = await browser.enter(place);
  await page.goto("/events/msg_text");
  await page.getByText("it would fail again, for the same reason").waitFor();
  const color = (locator) => locator.evaluate((one) => getComputedStyle(one).backgroundColor);
  const [discard, replay] = [page.getByText("Discard…"), page.getByRole("button", { name: "Replay anyway" })];
  const primary = await page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue("--accent"));
  assert.notEqual(await color(discard), await color(replay), primary);
  await shoot(page, "event-hopeless");
  await replay.click();
  await page.getByText("Replayed, and failed again.").waitFor();
  await discard.click();
  await page.getByRole("button", { name: "Discard this event" }).click();
  await page.getByText("Discarded.", { exact: true }).waitFor();
  await leave(page);
});

test("an error is a page that says what to do", async () => {
  const page = await browser.enter(place);
  for (const [path, status] of [["/nowhere", 404], ["/events/msg_none", 404], ["/events?status=lost", 400], ["/logout", 405]]) {
    assert.equal((await page.goto(path)).status(), status, path);
    await page.getByRole("link", { name: "Events", exact: true }).waitFor();
    await shoot(page, `error-${status}`, false);
  }
  page.faults = page.faults.filter((fault) => !/status of 40[045]/.test(fault));
  await leave(page);
});
