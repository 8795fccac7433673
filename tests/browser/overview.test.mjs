// Tests of the overview in a real browser: what it says when nothing answers, its charts and its times; and a bulk replay.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser, PHONE, hasSidewaysScroll, leave, shoot } from "./browser.mjs";
import { FAILED, fill } from "./busy_hour.mjs";
import { event, people } from "./people.mjs";
import { Place, until } from "./place.mjs";

let browser;
before(async () => (browser = await Browser.launch()));
after(async () => browser?.close());

describe("the overview of a busy service", () => {
  let place;
  before(async () => {
    place = await Place.started();
    await fill(place);
    // Some of it is older.
    await place.sql("update clerk.events set received_at = received_at - interval '2 days', processed_at = processed_at - interval '2 days' where hashtext(event_id) & 3 = 0");
  });
  after(async () => place?.stop());

  test("a server that does not answer is said to, and its return too", async () => {
    const page = await browser.enter(place);
    const usual = await page.locator("#status h1").innerText();
    await page.context().setOffline(true);
    await page.getByRole("heading", { name: "The server does not answer" }).waitFor();
    assert.match(await page.locator("#status").innerText(), /What is shown here is of \d/);
    await page.getByRole("button", { name: "No answer" }).waitFor();
    await shoot(page, "server-away", false);
    await page.context().setOffline(false);
    await page.getByRole("heading", { name: usual }).waitFor();
    // Elsewhere it is a notice above the page.
    await page.goto("/events");
    await page.context().setOffline(true);
    await page.locator("#no-answer").waitFor();
    await page.context().setOffline(false);
    await page.locator("#no-answer").waitFor({ state: "detached" });
    // The browser notes the failed requests itself.
    page.faults = page.faults.filter((fault) => !fault.includes("ERR_INTERNET_DISCONNECTED"));
    await leave(page);
  });

  test("ranges are links, and a bar leads to its events, by pointer and by keyboard", async () => {
    const page = await browser.enter(place);
    await page.locator("#charts .ticks").first().waitFor();
    const ticks = () => page.locator("#rate-heading >> xpath=ancestor::section").locator(".ticks text").allTextContents();
    assert.match((await ticks())[0], /^\d\d:(00|15|30|45)$/);
    assert.deepEqual(await page.locator(".plot .zone-name").allTextContents(), ["UTC", "UTC"]);
    for (const [range, heading] of [["24h", "last 24 hours"], ["30d", "last 30 days"], ["7d", "last 7 days"]]) {
      await page.getByRole("link", { name: range, exact: true }).click();
      await page.waitForURL(`**/?range=${range}`);
      await page.getByRole("heading", { name: new RegExp(`^Events per .*, ${heading}$`) }).waitFor();
      await shoot(page, `range-${range}`);
    }
    assert.match((await ticks())[0], /^\d\d-\d\d$/);
    assert.equal(await page.locator("nav[aria-label='Range of the charts'] [aria-current]").innerText(), "7d");
    // The failed ones are on top, and lead to themselves.
    const failed = page.locator(".bar.failed").first();
    const stack = await failed.evaluate((bar) => [...bar.closest("g").querySelectorAll(".bar")].map((one) => one.classList[1]));
    assert.equal(stack.at(-1), "failed");
    const href = await failed.evaluate((bar) => bar.closest("a").getAttribute("href"));
    const { body } = await place.api(`/api${href}`);
    assert(body.data.length > 0 && body.data.every((one) => one.status === "failed"));
    await page.goto(href);
    assert.equal(await page.locator("#events tbody tr").count(), Math.min(body.data.length, 50));

    // One stop of the Tab key, then the arrow keys.
    await page.goto("/?range=7d");
    const stops = await page.locator("[data-chart]").evaluateAll((charts) => charts.map((one) => one.querySelectorAll("a[tabindex='0']").length));
    assert.deepEqual(stops, [1, 1]);
    await page.locator("[data-chart] a[tabindex='0']").last().focus();
    const at = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    const newest = await at();
    await page.keyboard.press("ArrowLeft");
    const before = await at();
    assert(before < newest && / UTC: \d+/.test(before), `${before} is before ${newest}`);
    const where = await page.evaluate(() => document.activeElement.getAttribute("href"));
    await page.keyboard.press("Enter");
    await page.waitForURL((url) => url.pathname + url.search === where);
    await leave(page);
  });

  test("times are in UTC, or in the reader's own zone", async () => {
    const page = await browser.enter(place);
    const first = page.locator("main time").first();
    const iso = await first.getAttribute("datetime");
    const utc = `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
    const shown = async () => (await page.locator(`main time[datetime='${iso}']`).first().textContent()).replace(/\u00a0/g, " ");
    assert(!(await shown()).includes("UTC") || (await shown()) === utc);
    const texts = () => page.locator("main time, .plot .zone-name").allTextContents();
    const inUtc = (await texts()).filter((text) => text.endsWith("UTC")).length;
    assert(inUtc > 2);
    await page.getByRole("button", { name: "Local time" }).click();
    assert.equal((await texts()).filter((text) => text.endsWith("UTC")).length, 0);
    assert((await texts()).filter((text) => /(GMT\+[12]|CES?T)$/.test(text)).length >= inUtc);
    assert.match(await page.locator("footer").innerText(), /Europe\/Berlin/);
    await shoot(page, "local-time", false);
    // It stays, over the renewal and on another page, and goes back.
    await place.deliver("msg_3Flocal", event("user.updated", people[3], Date.now()));
    await page.getByText("msg_3Flocal").waitFor();
    assert.equal((await texts()).filter((text) => text.endsWith("UTC")).length, 0);
    await page.goto("/events");
    assert.equal(await page.getByRole("button", { name: "Local time" }).getAttribute("aria-pressed"), "true");
    await page.goto("/");
    await page.getByRole("button", { name: "Local time" }).click();
    assert((await texts()).filter((text) => text.endsWith("UTC")).length > 2);
    assert.equal((await texts()).filter((text) => /(GMT\+[12]|CES?T)$/.test(text)).length, 0);
    await leave(page);
  });

  test("a bulk replay shows the outcome of each event", async () => {
    const page = await browser.enter(place);
    await page.getByRole("link", { name: "Replay… those with implausible_time" }).click();
    await page.getByRole("button", { name: `Replay ${FAILED.implausible_time} events` }).click();
    await page.waitForURL("**/replays/*");
    await page.getByRole("heading", { name: `${FAILED.implausible_time} events replayed`, exact: true }).waitFor();
    assert.match(await page.locator(".outcomes").innerText(), new RegExp(`${FAILED.implausible_time} failed again: implausible_time`));
    await shoot(page, "replay-run");
    await page.setViewportSize(PHONE);
    assert.equal(await hasSidewaysScroll(page), false);
    await page.getByRole("link", { name: "Back to the failed events" }).click();
    await page.waitForURL(/error_code=implausible_time/);
    await leave(page);
  });
});

describe("one event and a wrong secret", () => {
  let place;
  before(async () => (place = await Place.embedded().start()));
  after(async () => place?.stop());

  test("a lone value of a chart is a dot, and refused deliveries come first", async () => {
    await place.deliver("msg_alone", event("user.created", people[0], Date.now()));
    await place.settled("msg_alone", "applied");
    const page = await browser.enter(place);
    const dot = page.locator(".line.dots.p50");
    await until("the chart has it", async () => {
      await page.reload();
      return /^M[\d.]+ [\d.]+h0$/.test((await dot.getAttribute("d")) ?? "");
    });
    const size = await dot.evaluate((path) => parseFloat(getComputedStyle(path).strokeWidth));
    assert(size >= 5, `${size} px`);
    await shoot(page, "lone-point", false);

    const headers = { "svix-id": "msg_forged", "svix-timestamp": String(Math.floor(Date.now() / 1000)), "svix-signature": `v1,${"A".repeat(43)}=` };
    const answer = await fetch(`${place.url}/api/webhooks/clerk`, { method: "POST", headers, body: "{}" });
    assert.equal(answer.status, 400);
    await page.getByRole("heading", { name: "Deliveries are refused: their signature does not match" }).waitFor();
    await page.locator("#refused").getByText("CLERK_WEBHOOK_SIGNING_SECRET").waitFor();
    for (const [name, options] of [["light", {}], ["dark", { colorScheme: "dark" }], ["phone", { viewport: PHONE }]]) {
      const other = await browser.enter(place, options);
      assert.equal(await hasSidewaysScroll(other), false);
      await shoot(other, `refused-${name}`);
      await leave(other);
    }
    await place.deliver("msg_good", event("user.created", people[1], Date.now()));
    await page.getByRole("heading", { name: "Everything works" }).waitFor();
    await leave(page);
  });
});
