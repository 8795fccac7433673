// Every page by axe, light and dark, on a desktop and a phone; targets that a finger hits; the keyboard's focus.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { Browser, DESKTOP, PHONE, hasSidewaysScroll, leave, logIn, shoot } from "./browser.mjs";
import { ADA_IN_FERN, FERN, INVITATION, event, eventId, organizationEvents, people } from "./people.mjs";
import { Place, TOKEN, until } from "./place.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

const [FAILED, HOPELESS, APPLIED, STALE] = [1, 2, 3, 4].map((n) => eventId(n));
const ada = people[0];

// Every page, with a name for its picture.
const PAGES = {
  overview: "/",
  events: "/events",
  "events-failed": "/events?status=failed",
  "events-none": "/events?status=discarded",
  "event-failed": `/events/${FAILED}`,
  "event-hopeless": `/events/${HOPELESS}`,
  "event-changed": `/events/${APPLIED}`,
  "event-sorted": `/events/${APPLIED}?names=sorted`,
  "event-stale": `/events/${STALE}`,
  "bulk-replay": "/events/replay?error_code=not_json",
  "bulk-discard": "/events/discard?error_code=not_json",
  users: "/users",
  "users-none": "/users?q=unknown",
  user: `/users/${ada.id}`,
  "user-changes": `/users/${people[1].id}`,
  organizations: "/organizations",
  organization: `/organizations/${FERN}`,
  memberships: "/memberships",
  membership: `/memberships/${ADA_IN_FERN}`,
  invitations: "/invitations?status=pending",
  "invitations-wrong": "/invitations?deleted=maybe",
  "invitations-none": "/invitations?email_address=unknown",
  invitation: `/invitations/${INVITATION}`,
  search: "/search?q=ada",
  "search-organizations": "/search?q=fern",
  "search-none": "/search?q=unknown",
  control: "/control",
  audit: "/audit",
  "not-found": "/events/msg_none",
  "nowhere": "/nowhere",
  invalid: "/events?status=lost",
};

// On a desktop their IDs are whole.
const LISTS = ["overview", "events", "users", "organizations", "memberships", "invitations", "user", "user-changes"];

let browser;
let place;
before(async () => {
  browser = await Browser.launch();
  place = await Place.embedded().start("serve", { EVENT_PAYLOADS: "all", CHANGE_FEED: "on" });
  const now = Date.now();
  const send = async (id, body, status) => {
    await place.deliver(id, body);
    await place.settled(id, status);
  };
  await send(eventId(0), event("user.created", ada, now - 60_000), "applied");
  await send(APPLIED, event("user.updated", ada, now, { last_name: "Lovelace", public_metadata: { plan: "team", seats: 12 } }), "applied");
  await send(STALE, event("user.updated", ada, now - 30_000), "stale");
  await send(HOPELESS, "upstream connect error", "failed");
  await send(FAILED, event("user.updated", ada, now + 400 * 86_400_000), "failed");
  // An act for the audit, and a second attempt.
  const answer = await fetch(`${place.url}/api/events/${HOPELESS}/replay`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` } });
  assert.equal(answer.status, 200, await answer.text());
  await until("it failed again", async () => (await place.api(`/api/events/${HOPELESS}`)).body.attempts === 2);
  for (const [n, person] of people.slice(1, 9).entries()) await send(eventId(10 + n), event("user.created", person, now), "applied");
  // More changes than are shown at once.
  for (let n = 1; n <= 6; n++) {
    await send(eventId(20 + n), event("user.updated", people[1], now + n, { username: `name_${n}`, locale: n % 2 ? "en" : "nb" }), "applied");
  }
  for (const [n, body] of organizationEvents(now).entries()) await send(eventId(30 + n), body, "applied");
});
after(async () => {
  await place?.stop();
  await browser?.close();
});

// What axe finds, as lines.
async function violations(page, runOnly) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  return page.evaluate(async (runOnly) => {
    const { violations } = await window.axe.run(document, { runOnly, rules: { "target-size": { enabled: true } }, resultTypes: ["violations"] });
    return violations.flatMap(({ id, help, nodes }) =>
      nodes.map((node) => `${id} (${help}): ${node.html.slice(0, 160)} ${node.any.map((one) => one.message).join("; ")}`));
  }, runOnly);
}

// Links and buttons beside running text that are lower or narrower than 24 px.
function smallTargets(page) {
  return page.evaluate(() => {
    const small = [];
    for (const one of document.querySelectorAll("a[href], button, summary, input:not([type=hidden]), select, textarea")) {
      if (!one.checkVisibility() || one.closest(".skip, svg")) continue;
      // A checkbox is as large as its label, or has the room of its cell.
      const target = (one.type === "checkbox" && one.closest("label, td, th")) || one;
      const text = one.closest("p, li")?.textContent.trim() ?? "";
      const inText = getComputedStyle(one).display === "inline" && text.length > one.textContent.trim().length;
      const { width, height } = target.getBoundingClientRect();
      if (!inText && (height < 23.9 || width < 23.9)) small.push(`${one.outerHTML.slice(0, 120)}: ${Math.round(width)} × ${Math.round(height)}`);
    }
    return small;
  });
}

// IDs in lists that are cut off.
function cutIds(page) {
  return page.evaluate(() => [...document.querySelectorAll(".list .id, .recent .id")]
    .filter((id) => [id, id.closest("a"), id.closest("td")].some((one) => one && one.clientWidth > 0 && one.scrollWidth > one.clientWidth))
    .map((id) => id.textContent));
}

// Links in running text whose color alone marks them.
function plainLinks(page) {
  return page.evaluate(() => [...document.querySelectorAll("main p a, main dd a, footer a")]
    .filter((link) => !link.matches(".button") && !getComputedStyle(link).textDecorationLine.includes("underline"))
    .map((link) => link.outerHTML.slice(0, 120)));
}

describe("every page is accessible", () => {
  let page;
  const titles = new Map();
  before(async () => (page = await browser.visit(place)));
  after(async () => {
    // The browser notes the statuses of error pages itself.
    page.faults = page.faults.filter((fault) => !/status of 40[04]/.test(fault));
    await leave(page);
  });

  // All rules once; then those that another color scheme or width can break.
  async function look(part) {
    const found = [];
    const note = (what, lines) => found.push(...lines.map((line) => `${what}: ${line}`));
    // What is folded is looked at too.
    await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
    for (const [name, viewport, colorScheme, rules] of [
      ["light", DESKTOP, "light", RULES],
      ["dark", DESKTOP, "dark", ["color-contrast"]],
      ["phone-dark", PHONE, "dark", ["color-contrast"]],
      ["phone", PHONE, "light", ["color-contrast", "target-size", "scrollable-region-focusable"]],
    ]) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      note(name, await violations(page, rules));
      note(name, await smallTargets(page));
      if (await hasSidewaysScroll(page)) note(name, ["it is wider than the window"]);
      await shoot(page, `all-${part}-${name}`);
    }
    note("links", await plainLinks(page));
    await page.setViewportSize(DESKTOP);
    assert.deepEqual(found, []);
  }

  test("login", async () => {
    await page.goto("/");
    await look("login");
    await logIn(page);
  });
  for (const [part, path] of Object.entries(PAGES)) {
    test(part, async () => {
      const answer = await page.goto(path);
      await look(part);
      if (LISTS.includes(part)) assert.deepEqual(await cutIds(page), []);
      if (answer.ok()) {
        const title = await page.title();
        const { pathname, search } = new URL(page.url());
        const where = pathname + search.replace("?names=sorted", "");
        assert.equal(titles.get(title) ?? where, where, `another page has this title: ${title}`);
        titles.set(title, where);
      }
    });
  }
});

describe("by keyboard", () => {
  test("what has the focus can be seen", async () => {
    const page = await browser.enter(place);
    for (const part of ["overview", "events-failed", "event-failed", "event-changed", "users", "user"]) {
      const path = PAGES[part];
      await page.goto(path);
      const count = await page.locator("a[href], button, summary, input:not([type=hidden]), select").count();
      for (let presses = 0; presses < Math.min(count, 25); presses++) {
        await page.keyboard.press("Tab");
        const faint = await page.evaluate(() => {
          const one = document.activeElement;
          const style = getComputedStyle(one);
          const ring = ({ outlineStyle, outlineWidth }) => outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
          // The link of a row marks the row, that of a bar its column.
          const row = one.closest("tr");
          const hit = one.querySelector(".hit");
          const isSeen = ring(style) || (row && ring(getComputedStyle(row))) || (hit && getComputedStyle(hit).stroke !== "none");
          // The parts of a field of a time are marked by the browser.
          return one === document.body || one.type === "datetime-local" || isSeen ? "" : one.outerHTML.slice(0, 120);
        });
        assert.equal(faint, "", path);
      }
    }
    page.faults = page.faults.filter((fault) => !/status of 40[04]/.test(fault));
    await leave(page);
  });
});
