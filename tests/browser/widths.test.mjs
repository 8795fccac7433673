// Narrow places hold the longest texts that they can have, at every width of a desktop.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Browser, leave, shoot } from "./browser.mjs";
import { event, eventId, people } from "./people.mjs";
import { Place } from "./place.mjs";

const WIDTHS = [390, 800, 961, 1024, 1150, 1280, 1440, 1920];

let browser;
let place;
before(async () => {
  browser = await Browser.launch();
  place = await Place.embedded().start("serve", { CHANGE_FEED: "on" });
  const now = Date.now();
  for (const [n, type] of ["user.created", "user.updated"].entries()) {
    await place.deliver(eventId(n), event(type, people[0], now + n));
    await place.settled(eventId(n), "applied");
  }
});
after(async () => {
  await place?.stop();
  await browser?.close();
});

// Texts that reach into the padding of their box, once each has this text.
function outside(page, texts, box, text) {
  return page.evaluate(([texts, box, text]) => [...document.querySelectorAll(texts)].flatMap((one) => {
    const node = [...one.childNodes].findLast((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    node.data = text;
    const range = document.createRange();
    range.selectNode(node);
    const around = one.closest(box);
    const right = around.getBoundingClientRect().right - parseFloat(getComputedStyle(around).paddingRight);
    const over = range.getBoundingClientRect().right - right;
    return over > 0.5 ? [`${around.id}: ${Math.round(over)} px`] : [];
  }), [texts, box, text]);
}

for (const [name, path, texts, box, longest] of [
  ["overview", "/", ".tile .value", ".tile", ["23 h 59 min ago", "59 min", "Receiving"]],
  ["user", `/users/${people[0].id}`, ".recent td:last-child time", ".card", ["23 h 59 min ago", "59 min ago"]],
]) {
  test(`nothing leaves its box: ${name}`, async () => {
    const page = await browser.enter(place);
    await page.goto(path);
    assert.notEqual(await page.locator(texts).count(), 0);
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 860 });
      for (const text of longest) assert.deepEqual(await outside(page, texts, box, text), [], `${text} at ${width}`);
      await shoot(page, `width-${name}-${width}`);
    }
    await leave(page);
  });
}
