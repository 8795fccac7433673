// Tests of the dashboard in a real browser, with the real program, PostgreSQL and RabbitMQ.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser, DESKTOP, PHONE, hasSidewaysScroll, leave, logIn, shoot } from "./browser.mjs";
import { FAILED, fill } from "./busy_hour.mjs";
import { event, eventId, people } from "./people.mjs";
import { Place, TOKEN, until } from "./place.mjs";

let browser;
before(async () => (browser = await Browser.launch()));
after(async () => browser?.close());

describe("a busy service", () => {
  let place;
  let count;
  before(async () => {
    place = await Place.started();
    count = await fill(place);
  });
  after(async () => place?.stop());

  test("a failed event is found, understood, replayed and seen applied", async () => {
    // The usual failure: a constraint of the application rejects a row.
    await place.sql("alter table clerk.users add constraint no_edda check (first_name <> 'Edda')");
    const edda = { ...people[9], id: "user_3Bedda", first: "Edda", last: "Quist" };
    await place.deliver("msg_3Bedda", event("user.created", edda, Date.now()));
    await place.settled("msg_3Bedda", "failed");
    const page = await browser.enter(place);
    await shoot(page, "overview-failed", false);
    await page.getByRole("link", { name: "sqlstate_23514", exact: true }).click();
    await page.getByRole("link", { name: /user\.created/ }).click();
    await page.getByText(/refuses the values/).first().waitFor();
    assert.match(await page.locator("#failure").innerText(), /no_edda/);
    assert.match(await page.locator(".payload").innerText(), /"first_name": "Edda"/);
    await shoot(page, "event-failed");
    await place.sql("alter table clerk.users drop constraint no_edda");
    await page.getByRole("button", { name: "Replay" }).click();
    // The page reloads itself.
    await page.getByText("Replayed, and applied.").waitFor();
    await page.locator("#event-head .badge.applied").waitFor();
    assert.equal(await page.getByRole("button", { name: "Replay" }).count(), 0);
    await shoot(page, "event-applied");
    await page.getByRole("link", { name: "user_3Bedda" }).first().click();
    await page.getByRole("heading", { name: "Edda Quist" }).waitFor();
    assert.match(await page.locator("#history").innerText(), /It changed the row/i);
    await leave(page);
  });

  test("the numbers are those of /api/stats", async () => {
    const page = await browser.enter(place);
    const numbers = () =>
      page.$$eval("[data-number]", (all) => Object.fromEntries(all.map((one) => [one.id, Number(one.dataset.number)])));
    // Both count again every few seconds, and no event arrives meanwhile.
    await until("both say the same", async () => {
      await page.reload();
      const { body: stats } = await place.api("/api/stats");
      const { counts, ...rest } = { counts: stats.totals, ...stats };
      const others = Object.entries(counts.tables).filter(([table]) => table !== "users");
      const expected = {
        "failed-count": rest.failed.count,
        "total-users": counts.users,
        "total-deleted_users": counts.deleted_users,
        "total-events": counts.events,
        ...Object.fromEntries(others.map(([table, { rows }]) => [`total-${table.replace("organization_", "")}`, rows])),
        ...Object.fromEntries(Object.entries(counts.by_status).map(([status, number]) => [`total-${status}`, number])),
      };
      return counts.events >= count && assert.deepEqual(await numbers(), expected) === undefined;
    });
    const { body: stats } = await place.api("/api/stats");
    for (const [code, number] of Object.entries(stats.failed.by_code)) {
      const row = page.locator("#failed tr", { has: page.getByRole("link", { name: code, exact: true }) });
      assert.equal(await row.locator("td.number").innerText(), String(number), code);
    }
    assert.equal(stats.failed.by_code.implausible_time, FAILED.implausible_time);
    const sum = stats.recent.buckets.reduce((sum, minute) => sum + minute.applied + minute.stale + minute.failed + minute.discarded, 0);
    assert.match(await page.locator("#rate-summary").innerText(), new RegExp(`^${sum}\\b`));
    assert.equal(await page.locator("#rate-heading + .legend, #charts svg").count() > 0, true);
    await leave(page);
  });

  test("a user is found by what people know", async () => {
    const page = await browser.enter(place);
    await page.getByRole("link", { name: "Users", exact: true }).click();
    const { first, last, email, phone, id } = people[13];
    for (const typed of [email, phone, `${first} ${last}`, last.toLowerCase(), id, email.slice(0, 8).toUpperCase()]) {
      await page.getByLabel("E-mail, phone, name or Clerk ID").fill(typed);
      await page.getByRole("button", { name: "Search" }).click();
      await page.getByRole("link", { name: `${first} ${last}` }).waitFor();
      assert.equal(await page.locator("#users tbody tr").count(), 1, typed);
    }
    await page.getByRole("link", { name: `${first} ${last}` }).click();
    await page.getByRole("heading", { name: `${first} ${last}` }).waitFor();
    const profile = await page.locator("#profile").innerText();
    assert(profile.includes(email) && profile.includes(phone), profile);
    assert((await page.locator("#history li").count()) > 1);
    await leave(page);
  });

  test("a set is discarded after its preview", async () => {
    const page = await browser.enter(place);
    await page.getByRole("link", { name: "Discard… those with unstorable" }).click();
    await page.getByRole("heading", { name: `Discard ${FAILED.unstorable} events?` }).waitFor();
    assert.equal(await page.locator("table.events tbody tr").count(), FAILED.unstorable);
    await shoot(page, "discard");
    await page.getByRole("link", { name: "Cancel" }).click();
    await page.waitForURL(/status=failed/);
    await page.goBack();
    await page.getByRole("button", { name: `Discard ${FAILED.unstorable} events` }).click();
    await page.getByText(`${FAILED.unstorable} events discarded.`).waitFor();
    const { body } = await place.api("/api/events?status=discarded");
    assert.deepEqual(body.data.map((one) => one.error_code), Array(FAILED.unstorable).fill("unstorable"));
    await leave(page);
  });

  test("it all goes by the keyboard alone", async () => {
    const page = await browser.visit(place);
    await page.goto("/events?status=failed");
    // The browser gives the field its focus with the first drawing, which may come after `load`.
    await page.locator("#token:focus").waitFor();
    await page.keyboard.type(TOKEN);
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/events\?status=failed/);
    await page.keyboard.press("Tab");
    const focused = () => page.evaluate(() => document.activeElement.innerText || document.activeElement.name);
    assert.equal(await focused(), "Skip to the content");
    assert(await page.locator(".skip").isVisible());
    await page.keyboard.press("Enter");
    await tabTo(page, (text) => text.includes(eventId(420)));
    await page.keyboard.press("Enter");
    await page.waitForURL(new RegExp(`/events/${eventId(420)}`));
    await tabTo(page, (text) => text === "Discard…");
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(ring, "solid", "where the focus is can be seen");
    await page.keyboard.press("Enter");
    await tabTo(page, (text) => text === "Discard this event");
    await page.keyboard.press("Enter");
    await page.getByText("Discarded.", { exact: true }).waitFor();
    await page.keyboard.press("/");
    await page.goto("/users");
    await page.keyboard.press("/");
    assert.equal(await focused(), "q", "`/` goes to the search");
    await page.keyboard.type("Mina");
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: "Mina Kowalski" }).waitFor();
    await leave(page);
  });

  test("the page renews itself, rests when asked to, and keeps the focus", async () => {
    const page = await browser.visit(place);
    await page.clock.install();
    await page.goto("/");
    await logIn(page);
    await page.getByRole("link", { name: "All of them" }).first().focus();
    const sends = async (n) => {
      await place.deliver(`msg_3Cnew${n}`, event("user.updated", people[20], Date.now()));
      await place.settled(`msg_3Cnew${n}`, "applied");
    };
    await sends(1);
    await page.getByText("msg_3Cnew1").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.innerText), "All of them");
    await page.getByRole("button", { name: "Live" }).click();
    await page.getByRole("button", { name: "Paused" }).waitFor();
    let asked = 0;
    page.on("request", () => asked++);
    await sends(2);
    await page.clock.fastForward("05:00");
    assert.equal(asked, 0, "paused is paused");
    await page.getByRole("button", { name: "Paused" }).click();
    await page.getByText("msg_3Cnew2").waitFor();
    await leave(page);
  });

  test("without scripts it works too", async () => {
    const page = await browser.enter(place, { javaScriptEnabled: false });
    await page.getByRole("link", { name: "not_json", exact: true }).click();
    await page.getByRole("link", { name: /msg_3A/ }).click();
    await page.getByText("upstream connect error").waitFor();
    await page.getByRole("button", { name: "Replay" }).click();
    await page.getByText(/back on the queue|failed again/).waitFor();
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByLabel("Admin token").waitFor();
    await leave(page);
  });

  test("hostile names and payloads stay text", async () => {
    const evil = `"><script>alert(1)</script><img src=x onerror="alert(2)">`;
    const person = { ...people[0], id: `user_${evil}`, first: evil, last: evil, email: `${evil}@example.com` };
    await place.deliver("msg_3Devil", event("user.created", person, Date.now(), { image_url: "javascript:alert(3)" }));
    await place.settled("msg_3Devil", "applied");
    await place.deliver("msg_3Dtext", `<svg onload=alert(4)> ${evil}`);
    await place.settled("msg_3Dtext", "failed");
    const page = await browser.enter(place);
    for (const path of ["/events", "/events/msg_3Dtext", "/users", `/users/${encodeURIComponent(person.id)}`]) {
      assert.equal((await page.goto(path)).status(), 200, path);
      assert((await page.locator("#main").innerText()).includes("<script>alert(1)") || path === "/events", path);
      assert.equal(await page.locator("main script, main img").count(), 0, path);
    }
    await leave(page);
    await place.sql("delete from clerk.users where clerk_id = $1", [person.id]);
    await place.sql("delete from clerk.events where event_id in ('msg_3Devil', 'msg_3Dtext')");
  });

  for (const [name, options] of [
    ["desktop", { viewport: DESKTOP, colorScheme: "light" }],
    ["dark", { viewport: DESKTOP, colorScheme: "dark" }],
    ["phone", { viewport: PHONE, colorScheme: "light" }],
    ["phone-dark", { viewport: PHONE, colorScheme: "dark" }],
  ]) {
    test(`every page fits and can be read: ${name}`, async () => {
      const page = await browser.visit(place, options);
      await page.goto("/");
      await shoot(page, `login-${name}`);
      await logIn(page);
      const pages = {
        overview: "/",
        events: "/events",
        failed: "/events?status=failed",
        event: `/events/${eventId(421)}`,
        replay: "/events/replay?error_code=implausible_time",
        users: "/users",
        user: `/users/${people[2].id}`,
      };
      for (const [part, path] of Object.entries(pages)) {
        assert.equal((await page.goto(path)).status(), 200, path);
        assert.equal(await hasSidewaysScroll(page), false, `${path} is wider than the window`);
        await shoot(page, `${part}-${name}`);
        const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        assert.equal(ground, options.colorScheme === "dark" ? "rgb(15, 15, 17)" : "rgb(250, 250, 250)");
        assert.deepEqual(await faintTexts(page), [], `${path}: text that is hard to read`);
      }
      await leave(page);
    });
  }

  test("an outage is said, with what it means", async () => {
    const page = await browser.enter(place);
    await place.sql("alter schema clerk rename to elsewhere");
    try {
      await page.getByRole("heading", { name: "The database does not work" }).waitFor();
      await page.getByText(/Events wait in the queue/).waitFor();
      await shoot(page, "database-away");
    } finally {
      await place.sql("alter schema elsewhere rename to clerk");
    }
    await page.getByRole("heading", { name: /^Working/ }).waitFor();
    await leave(page);
  });
});

describe("a new service, in one process", () => {
  let place;
  before(async () => (place = await Place.embedded().start()));
  after(async () => place?.stop());

  test("it says what to do first, and shows it done", async () => {
    const page = await browser.enter(place);
    await page.getByRole("heading", { name: "Ready for the first event" }).waitFor();
    await page.getByText("clerk-sync send user.created").waitFor();
    await shoot(page, "empty");
    for (const path of ["/events", "/users"]) {
      await page.goto(path);
      await page.getByText("clerk-sync send user.created").waitFor();
      await shoot(page, `empty-${path.slice(1)}`);
    }
    await page.goto("/");
    await place.deliver("msg_first", event("user.created", people[0], Date.now()));
    await page.getByRole("heading", { name: "Everything works" }).waitFor();
    await page.getByRole("link", { name: /msg_first/ }).waitFor();
    await leave(page);
  });

  test("a session ends with its log-out, and a wrong token is refused", async () => {
    const page = await browser.visit(place);
    await page.goto("/users");
    await page.getByLabel("Admin token").fill("not the token");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("alert").waitFor();
    // The browser notes the 401 of the form itself.
    page.faults = page.faults.filter((fault) => !fault.includes("401"));
    await shoot(page, "login-wrong");
    await logIn(page);
    await page.waitForURL(/\/users$/);
    const cookies = await page.context().cookies();
    assert.deepEqual(cookies.map(({ httpOnly, sameSite, secure, path }) => ({ httpOnly, sameSite, secure, path })), [
      { httpOnly: true, sameSite: "Strict", secure: false, path: "/" },
    ]);
    await page.getByRole("button", { name: "Log out" }).click();
    await page.goto("/users");
    await page.getByLabel("Admin token").waitFor();
    await leave(page);
  });
});

describe("dev, as its demo leaves it", () => {
  let place;
  before(async () => (place = await Place.embedded().start(["dev", "--demo"], { RUST_LOG: "info" })));
  after(async () => place?.stop());

  test("the link that it prints logs in once, and the failed event can be replayed", async () => {
    const line = (part) => until(part, () => place.printed.find((line) => line.includes(part)));
    const link = (await line("/login?link=")).trim();
    // A script or a preview that only looks uses it up no more than a reload does.
    const page = await browser.visit(place, { javaScriptEnabled: false });
    for (let looks = 0; looks < 3; looks++) await page.goto(link);
    await shoot(page, "login-link");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("heading", { name: /1 event failed/ }).waitFor();
    assert.equal(page.url(), `${place.url}/`, "the address of the page has no link in it");
    await leave(page);

    const second = await browser.visit(place);
    await second.goto(link);
    await second.getByText("This link was used before").waitFor();
    await shoot(second, "login-link-used");
    await logIn(second);
    await second.goto((await line("1 failed: open ")).split("open ")[1]);
    await second.getByText(/refuses the values/).first().waitFor();
    await second.getByRole("button", { name: "Replay" }).click();
    await second.getByText("Replayed, and applied.").waitFor();
    await leave(second);
  });
});

// Presses Tab until what has the focus says this.
async function tabTo(page, isIt) {
  for (let presses = 0; presses < 80; presses++) {
    await page.keyboard.press("Tab");
    if (isIt(await page.evaluate(() => document.activeElement.innerText ?? ""))) return;
  }
  assert.fail(`not reached by Tab: ${isIt}`);
}

// Texts whose contrast is below 4.5 to 1, which WCAG asks for.
function faintTexts(page) {
  return page.evaluate(() => {
    const numbers = (color) => color.match(/[\d.]+/g).map(Number);
    const light = (color) => {
      const [r, g, b] = numbers(color).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
      for (let one = element; one; one = one.parentElement) {
        const color = getComputedStyle(one).backgroundColor;
        if (numbers(color)[3] !== 0) return color;
      }
      return "rgb(255, 255, 255)";
    };
    const faint = new Set();
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
      if (!own || !element.checkVisibility() || element.closest("svg, option, .hidden, .skip")) continue;
      const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) faint.add(`${element.tagName}.${element.className}: ${contrast.toFixed(2)}`);
    }
    return [...faint];
  });
}
