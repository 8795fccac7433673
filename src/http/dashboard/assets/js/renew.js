// The pages work without this. It renews what is shown every few seconds, as long as somebody can see it and has not paused it,
// and shows times in the reader's own zone beside UTC.
(() => {
  "use strict";

  const EVERY_MS = 4000;
  // After a failure it asks less and less often, up to this.
  const SLOWEST_MS = 60000;
  const PAUSED = "clerk-sync-paused";

  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

  function localize(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      time.title = local.format(new Date(time.dateTime)) + " where you are";
    }
  }

  localize(document);
  if (!document.body.hasAttribute("data-live")) return;

  const button = document.getElementById("live");
  const word = document.getElementById("live-word");
  let paused = sessionStorage.getItem(PAUSED) === "yes";
  let wait = EVERY_MS;
  let timer = 0;
  let asking = false;

  function say(text) {
    word.textContent = text;
    button.setAttribute("aria-pressed", String(!paused && text === "Live"));
  }

  function plan(ms) {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(renew, ms);
  }

  const parts = (root) => [...root.querySelectorAll("[data-part][id]")];

  // What a reader has under the hand stays: marked text, an open question, a field that is being filled in.
  function isInUse(part) {
    const selection = document.getSelection();
    if (selection && !selection.isCollapsed && part.contains(selection.anchorNode)) return true;
    if (part.querySelector("details[open]")) return true;
    const active = document.activeElement;
    return part.contains(active) && active.matches("input, select, textarea");
  }

  function replace(part, fresh) {
    localize(fresh);
    if (part.outerHTML === fresh.outerHTML || isInUse(part)) return;
    const active = part.contains(document.activeElement) ? document.activeElement : null;
    // The same thing again, by where it leads or what it says.
    const same = (element) =>
      element.tagName === active.tagName &&
      element.getAttribute("href") === active.getAttribute("href") &&
      element.textContent === active.textContent;
    const node = document.importNode(fresh, true);
    part.replaceWith(node);
    if (active) [...node.querySelectorAll("a, button, summary")].find(same)?.focus({ preventScroll: true });
  }

  async function renew() {
    if (asking) return;
    asking = true;
    try {
      const response = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      if (response.redirected && new URL(response.url).pathname === "/login") return location.reload();
      if (!response.ok) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (paused) return;
      document.title = page.title;
      const [old, fresh] = [parts(document), parts(page)];
      const names = (list) => list.map((part) => part.id).join(" ");
      if (names(old) === names(fresh)) {
        old.forEach((part, place) => replace(part, fresh[place]));
      } else if (!old.some(isInUse)) {
        const main = document.importNode(page.getElementById("main"), true);
        localize(main);
        const focus = document.getElementById("main").contains(document.activeElement);
        document.getElementById("main").replaceWith(main);
        if (focus) main.focus({ preventScroll: true });
      }
      wait = EVERY_MS;
      say("Live");
    } catch {
      wait = Math.min(wait * 2, SLOWEST_MS);
      say("No answer");
    } finally {
      asking = false;
      plan(wait);
    }
  }

  button.hidden = false;
  button.title = "Whether this page renews itself";
  say(paused ? "Paused" : "Live");
  button.addEventListener("click", () => {
    paused = !paused;
    sessionStorage.setItem(PAUSED, paused ? "yes" : "no");
    say(paused ? "Paused" : "Live");
    if (paused) clearTimeout(timer);
    else renew();
  });
  document.addEventListener("visibilitychange", () => plan(document.hidden ? 0 : 200));
  plan(EVERY_MS);
})();
