// Tests of the page "Control" and the notice of a pause, in a real browser.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser, PHONE, hasSidewaysScroll, leave, shoot } from "./browser.mjs";
import { event, people } from "./people.mjs";
import { Place, until } from "./place.mjs";

let browser;
before(async () => (browser = await Browser.launch()));
after(async () => browser?.close());

describe("control", () => {
  let place;
  before(async () => (place = await Place.started()));
  after(async () => place?.stop());

  async function pauseOn(page, reason) {
    await page.goto("/control");
    await page.getByLabel("Reason").fill(reason);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByRole("button", { name: "Resume" }).first().waitFor();
  }

  test("a pause is made, shown on every page, and ended", async () => {
    const page = await browser.enter(place);
    assert.equal(await page.locator("#pause-banner").innerText(), "");
    await page.getByRole("link", { name: "Control" }).click();
    await page.getByRole("heading", { name: "Control", level: 1 }).waitFor();
    await shoot(page, "control");
    await pauseOn(page, "migration of <orders>");
    assert.match(await page.locator("#pause-reason").innerText(), /^migration of <orders>$/);
    await shoot(page, "control-paused");
    for (const path of ["/", "/events", "/users", "/control"]) {
      await page.goto(path);
      assert.match(await page.locator("#pause-banner").innerText(), /^Paused since .*: migration of <orders>\./, path);
    }
    await page.goto("/");
    await page.getByRole("heading", { name: /^Paused, since/ }).waitFor();
    await shoot(page, "overview-paused", false);
    await place.deliver("msg_3Bpaused", event("user.created", people[3], Date.now()));
    await page.locator("#pause-banner").getByRole("button", { name: "Resume" }).click();
    await page.getByText("not paused").waitFor();
    await place.settled("msg_3Bpaused", "applied");
    await leave(page);
  });

  test("a pause and its end show on an open page by themselves", async () => {
    const [watching, acting] = [await browser.enter(place), await browser.enter(place)];
    await watching.goto("/events");
    await pauseOn(acting, "a moment");
    await watching.locator("#pause-banner").getByText(/a moment/).waitFor();
    await acting.getByRole("button", { name: "Resume" }).last().click();
    await until("the notice goes", async () => (await watching.locator("#pause-banner").innerText()) === "");
    await leave(watching);
    await leave(acting);
  });

  test("a rate limit is set and removed, without scripts too", async () => {
    const page = await browser.enter(place, { javaScriptEnabled: false });
    await page.goto("/control");
    await page.getByLabel("Events per second").fill("50");
    await page.getByRole("button", { name: "Set" }).click();
    assert.equal(await page.locator("#rate-now").innerText(), "50 events per second");
    assert.equal((await place.api("/api/control")).body.rate_limit, 50);
    await page.getByLabel("Events per second").fill("");
    await page.getByRole("button", { name: "Set" }).click();
    assert.equal(await page.locator("#rate-now").innerText(), "none");
    await leave(page);
  });

  test("the processes are listed with their last sign of life", async () => {
    const page = await browser.enter(place);
    await page.goto("/control");
    const row = page.locator("#processes tbody tr").first();
    assert.match(await row.innerText(), /serve[\s\S]*running[\s\S]*\d+\.\d+\.\d+/);
    await leave(page);
  });

  test("it fits a phone and the dark", async () => {
    const page = await browser.enter(place, { viewport: PHONE, colorScheme: "dark" });
    await pauseOn(page, "a reason that is long enough to need more than one line of a phone");
    assert.equal(await hasSidewaysScroll(page), false);
    await shoot(page, "control-phone-dark");
    await page.goto("/");
    assert.equal(await hasSidewaysScroll(page), false);
    await page.locator("#pause-banner").getByRole("button", { name: "Resume" }).click();
    await page.getByText("not paused").waitFor();
    await leave(page);
  });
});
