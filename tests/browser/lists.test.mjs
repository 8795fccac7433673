// The lists of the dashboard in a real browser: keys, rows, selected events, the search and filters.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser, DESKTOP, PHONE, hasSidewaysScroll, leave, shoot } from "./browser.mjs";
import { FAILED, fill } from "./busy_hour.mjs";
import { eventId, people } from "./people.mjs";
import { Place } from "./place.mjs";

let browser;
before(async () => (browser = await Browser.launch()));
after(async () => browser?.close());

const row = (page) => page.evaluate(() => document.activeElement.closest("tr")?.innerText ?? document.activeElement.id);

describe("lists", () => {
  let place;
  before(async () => {
    place = await Place.started();
    await fill(place);
  });
  after(async () => place?.stop());

  test("keys lead through a list, and from one failed event to the next", async () => {
    const page = await browser.enter(place);
    await page.goto("/events?status=failed");
    const ids = await page.$$eval(".rows a.open .id", (all) => all.map((one) => one.textContent));
    for (const [key, at] of [["j", 0], ["j", 1], ["j", 2], ["k", 1], ["k", 0]]) {
      await page.keyboard.press(key);
      assert((await row(page)).includes(ids[at]), `${key}: ${await row(page)}`);
    }
    const outline = await page.$eval(".rows tr:has(.open:focus-visible)", (one) => getComputedStyle(one).outlineStyle);
    assert.equal(outline, "solid", "the row with the focus can be seen");
    await page.keyboard.press("x");
    assert.deepEqual(await page.$$eval('input[name="ids"]:checked', (all) => all.map((one) => one.value)), [ids[0]]);
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForURL(new RegExp(`/events/${ids[1]}$`));
    await page.keyboard.press("n");
    await page.waitForURL(new RegExp(`/events/${ids[2]}$`));
    await page.keyboard.press("p");
    await page.waitForURL(new RegExp(`/events/${ids[1]}$`));
    await page.keyboard.press("p");
    await page.waitForURL(new RegExp(`/events/${ids[0]}$`));
    await leave(page);
  });

  test("the keys are listed, can be turned off, and are letters while one types", async () => {
    const page = await browser.enter(place);
    await page.keyboard.press("?");
    await page.getByRole("heading", { name: "Keys" }).waitFor();
    await shoot(page, "keys", false);
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("dialog").isVisible(), false);
    await page.getByRole("link", { name: "Keys" }).click();
    await page.getByRole("button", { name: "Turn these keys off" }).click();
    await page.getByRole("link", { name: "Close" }).click();
    await page.keyboard.press("/");
    assert.equal(await row(page) === "search", false, "they are off");
    await page.keyboard.press("?");
    await page.getByRole("button", { name: "Turn these keys on" }).click();
    await page.keyboard.press("Escape");
    await page.keyboard.press("/");
    assert.equal(await row(page), "search");
    await page.keyboard.type("jk?/xn");
    assert.equal(await page.inputValue("#search"), "jk?/xn");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Control+j");
    assert.equal(await page.locator(".open:focus").count(), 0);
    await leave(page);
  });

  test("a row is a link as a whole, with and without scripts, and its text can be selected", async () => {
    for (const javaScriptEnabled of [true, false]) {
      const page = await browser.enter(place, { javaScriptEnabled });
      await page.goto("/events?status=failed");
      const first = page.locator(".rows tbody tr").first();
      const id = await first.locator("a.open .id").innerText();
      // Beside every text: at the right end of the outcome.
      const cell = await first.locator("td[data-label=Outcome]").boundingBox();
      await page.mouse.click(cell.x + cell.width - 4, cell.y + cell.height / 2);
      await page.waitForURL(new RegExp(`/events/${id}$`));
      await page.goBack();
      await page.locator(".rows tbody tr").first().locator("td[data-label=Row] a").click();
      await page.waitForURL(/\/users\/user_/);
      await leave(page);
    }
    const page = await browser.enter(place);
    await page.goto("/events?status=failed");
    const code = page.locator(".rows tbody tr").first().locator(".code-name");
    const at = await code.boundingBox();
    await page.mouse.move(at.x + 1, at.y + at.height / 2);
    await page.mouse.down();
    await page.mouse.move(at.x + at.width - 1, at.y + at.height / 2, { steps: 5 });
    await page.mouse.up();
    assert.equal(await page.evaluate(() => document.getSelection().toString()), await code.innerText());
    assert.match(page.url(), /status=failed$/, "to mark a text is not to follow a link");
    await page.mouse.click(10, 10);
    await code.click();
    await page.waitForURL(/\/events\/msg_/);
    await leave(page);
  });

  test("selected events are replayed or discarded, and the selection outlives a renewal", async () => {
    const visitor = await browser.enter(place);
    await visitor.goto("/events?error_code=implausible_time");
    const all = visitor.getByLabel("Select all failed events of this page");
    await all.check();
    await visitor.getByText(`${FAILED.implausible_time} selected`).waitFor();
    await all.uncheck();
    const boxes = visitor.locator('input[name="ids"]');
    const ids = [await boxes.nth(0).inputValue(), await boxes.nth(2).inputValue()];
    await boxes.nth(0).check();
    await boxes.nth(2).check();
    await visitor.getByText("2 selected").waitFor();
    await shoot(visitor, "events-selected");
    const renewed = visitor.waitForResponse((response) => response.url().includes("/events?error_code"));
    await renewed;
    assert.equal(await visitor.locator('input[name="ids"]:checked').count(), 2);
    await visitor.getByRole("button", { name: "Discard selected…" }).click();
    await visitor.getByRole("heading", { name: "Discard 2 events?" }).waitFor();
    for (const id of ids) await visitor.getByText(id).first().waitFor();
    await visitor.getByRole("button", { name: "Discard 2 events" }).click();
    for (const id of ids) await place.settled(id, "discarded");
    const { body } = await place.api("/api/events?status=discarded");
    assert.deepEqual(body.data.map((one) => one.event_id).sort(), ids.sort());
    await leave(visitor);
  });

  test("one box finds everything, from every page", async () => {
    const page = await browser.enter(place);
    const { id, first, last, email } = people[4];
    const paths = ["/", "/events", "/users", `/users/${id}`, `/events/${eventId(3)}`, "/search"];
    const wanted = [
      [eventId(5), new RegExp(`/events/${eventId(5)}$`)],
      [id, new RegExp(`/users/${id}$`)],
      [email.slice(0, 8), /\/users\?q=/],
      [`${first} ${last}`, /\/users\?q=/],
      ["implausible", /\/events\?error_code=implausible_time$/],
      ["user.created", /\/events\?event_type=user\.created$/],
    ];
    for (const [place_in_list, [q, address]] of wanted.entries()) {
      await page.goto(paths[place_in_list]);
      await page.keyboard.press("/");
      await page.keyboard.type(q);
      await page.keyboard.press("Enter");
      await page.waitForURL(address);
    }
    await page.goto("/search?q=user");
    await page.getByRole("heading", { name: "Events by type" }).waitFor();
    await shoot(page, "search");
    await page.goto("/search?q=zzz");
    await page.getByText("Nothing was found for").waitFor();
    await shoot(page, "search-nothing");
    await leave(page);
  });

  test("a filter is made of choices and dates, and what is wrong stands beside its field", async () => {
    const page = await browser.enter(place);
    await page.goto("/events");
    await page.getByLabel("Error code").selectOption("implausible_time");
    await page.getByLabel("Since (UTC)").fill("2020-01-02T03:04");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.waitForURL(/since=2020-01-02T03%3A04/);
    assert.equal(await page.getByLabel("Outcome").inputValue(), "failed");
    assert.match(await page.getByLabel("Since (UTC)").inputValue(), /^2020-01-02T03:04/);
    assert((await page.locator("#events tbody tr").count()) > 0);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "CSV" }).click()]);
    assert.match(download.suggestedFilename(), /^clerk-sync-events-.*Z\.csv$/);
    await page.goto("/events?since=soon&status=lost");
    await page.getByText(/Give a date/).waitFor();
    assert.equal(await page.getByLabel("Since (UTC)").getAttribute("aria-invalid"), "true");
    assert.equal(await page.getByLabel("Outcome").inputValue(), "lost");
    await shoot(page, "filter-wrong");
    page.faults = page.faults.filter((fault) => !fault.includes("400"));
    await leave(page);
  });

  test("rows are one line, under a head that stays", async () => {
    const page = await browser.enter(place);
    for (const path of ["/events", "/users"]) {
      await page.goto(path);
      const heights = await page.$$eval(".rows tbody tr", (all) => all.map((one) => one.getBoundingClientRect().height));
      assert(Math.max(...heights) < 44, `${path}: ${Math.max(...heights)}`);
      await page.mouse.wheel(0, 700);
      await page.waitForFunction(() => scrollY > 300);
      const head = await page.locator(".rows th").nth(1).boundingBox();
      assert(Math.abs(head.y) < 2, `${path}: the head is at ${head.y}`);
      await shoot(page, `scrolled-${path.slice(1)}`, false);
    }
    const times = page.locator(".rows time.ago");
    assert.match(await times.first().innerText(), /ago|just now/);
    await leave(page);
  });

  for (const [name, options] of [
    ["desktop", { viewport: DESKTOP, colorScheme: "light" }],
    ["dark", { viewport: DESKTOP, colorScheme: "dark" }],
    ["phone", { viewport: PHONE, colorScheme: "light" }],
    ["phone-dark", { viewport: PHONE, colorScheme: "dark" }],
  ]) {
    test(`lists fit: ${name}`, async () => {
      const page = await browser.enter(place, options);
      const paths = { search: "/search?q=user", nothing: "/search?q=zzz", wrong: "/events?since=soon&until=late&status=lost", list: "/events?error_code=implausible_time", event: `/events/${eventId(421)}` };
      for (const [part, path] of Object.entries(paths)) {
        await page.goto(path);
        assert.equal(await hasSidewaysScroll(page), false, `${path} is wider than the window`);
        await shoot(page, `lists-${part}-${name}`);
      }
      page.faults = page.faults.filter((fault) => !fault.includes("400"));
      await leave(page);
    });
  }
});
