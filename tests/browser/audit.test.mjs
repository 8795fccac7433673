// Tests of attempts and of who acted, in a real browser with the real program, PostgreSQL and RabbitMQ.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser, PHONE, hasSidewaysScroll, leave, shoot } from "./browser.mjs";
import { event, people } from "./people.mjs";
import { Place } from "./place.mjs";

let browser;
before(async () => (browser = await Browser.launch()));
after(async () => browser?.close());

describe("an event that is tried three times", () => {
  let place;
  before(async () => {
    place = await Place.started();
    await place.sql("alter table clerk.users add constraint no_edda check (first_name <> 'Edda')");
  });
  after(async () => place?.stop());

  test("each attempt has its time, result and error, and each replay has who asked for it", async () => {
    const edda = { ...people[9], id: "user_3Bedda", first: "Edda", last: "Quist" };
    await place.deliver("msg_3Bedda", event("user.created", edda, Date.now()));
    await place.settled("msg_3Bedda", "failed");
    const page = await browser.enter(place);
    await page.goto("/events/msg_3Bedda");
    assert.equal(await page.locator("#attempts").count(), 0, "the page says all of a single attempt elsewhere");

    await page.getByRole("button", { name: "Replay" }).click();
    await page.locator("#attempts li").nth(1).waitFor();
    assert.equal(await page.locator("#attempts li .badge.failed").count(), 2);
    await place.sql("alter table clerk.users drop constraint no_edda");
    await page.getByRole("button", { name: "Replay" }).click();
    await page.locator("#attempts li").nth(2).waitFor();

    // The newest first.
    const attempts = await page.locator("#attempts li").allInnerTexts();
    assert.match(attempts[0], /^3\s+applied/);
    assert.doesNotMatch(attempts[0], /sqlstate/);
    for (const [place, number] of [[1, 2], [2, 1]]) {
      assert.match(attempts[place], new RegExp(`^${number}\\s+failed`));
      assert.match(attempts[place], /UTC/);
      assert.match(attempts[place], /sqlstate_23514/);
      assert.match(attempts[place], /no_edda/);
    }
    const acts = await page.locator("#who li").allInnerTexts();
    assert.equal(acts.length, 2);
    for (const act of acts) assert.match(act, /replayed[^]*UTC[^]*dashboard, 127\.0\.0\.1/);
    await shoot(page, "event-attempts");

    await page.locator("#who").getByRole("link", { name: "Audit" }).click();
    await page.getByRole("heading", { name: "Audit", exact: true }).waitFor();
    assert.equal(await page.locator("#audit tbody tr").count(), 2);
    await shoot(page, "audit");
    await page.getByLabel("Action").selectOption("discarded");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.getByText("Nothing matches.").waitFor();
    await page.getByRole("link", { name: "Show all of it." }).click();
    await page.locator("#audit tbody tr").getByRole("link", { name: "msg_3Bedda" }).first().click();
    await page.locator("#attempts").waitFor();
    await leave(page);
  });

  test("it fits a phone, in the dark and without scripts", async () => {
    const page = await browser.enter(place, { viewport: PHONE, colorScheme: "dark", javaScriptEnabled: false });
    for (const path of ["/audit", "/events/msg_3Bedda"]) {
      await page.goto(path);
      assert.equal(await hasSidewaysScroll(page), false, path);
      await shoot(page, `phone-dark${path.replaceAll("/", "-")}`);
    }
    await leave(page);
  });
});
