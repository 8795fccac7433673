// The pages work without this. It renews what is shown every few seconds, as long as somebody can see it and has not paused it, and
// says so if no answer comes: what is on the screen is then old.
(() => {
  "use strict";

  const EVERY_MS = 4000;
  // After a failure it asks less and less often, up to this.
  const SLOWEST_MS = 60000;
  // An answer that takes longer is none.
  const ANSWER_MS = 20000;
  const PAUSED = "clerk-sync-paused";
  if (!document.body.hasAttribute("data-live")) return;

  const button = document.getElementById("live");
  const word = document.getElementById("live-word");
  let paused = sessionStorage.getItem(PAUSED) === "yes";
  let wait = EVERY_MS;
  let timer = 0;
  let asking = false;
  let lastAnswer = Date.now();

  function say(text) {
    word.textContent = text;
    button.setAttribute("aria-pressed", String(!paused && text === "Live"));
  }

  function plan(ms) {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(renew, ms);
  }

  // An answer that is no page.
  class Refusal extends Error {}

  const parts = (root) => [...root.querySelectorAll("[data-part][id]")];

  // What a reader has under the hand stays: marked text, an open question, a selected row, a field that is being filled in.
  function isInUse(part) {
    const selection = document.getSelection();
    if (selection && !selection.isCollapsed && part.contains(selection.anchorNode)) return true;
    if (part.querySelector("details[open], input:checked")) return true;
    const active = document.activeElement;
    return part.contains(active) && active.matches("input, select, textarea");
  }

  // Other scripts prepare what is new, such as its times.
  const announce = (detail) => document.dispatchEvent(new CustomEvent("clerk-sync:fresh", { detail }));

  function replace(part, fresh) {
    announce(fresh);
    if (part.outerHTML === fresh.outerHTML || isInUse(part)) return;
    const active = part.contains(document.activeElement) ? document.activeElement : null;
    // The same thing again, by where it leads or what it says.
    const same = (element) =>
      element.tagName === active.tagName &&
      element.getAttribute("href") === active.getAttribute("href") &&
      element.textContent === active.textContent;
    const node = document.importNode(fresh, true);
    part.replaceWith(node);
    const leadsThere = (element) => active.hasAttribute("href") && element.getAttribute("href") === active.getAttribute("href");
    const choices = [...node.querySelectorAll("a, button, summary")];
    if (active) (choices.find(same) ?? choices.find(leadsThere))?.focus({ preventScroll: true });
  }

  // While no answer comes, the first thing on the page is that, and no longer what the last answer said. The next answer replaces
  // it: that of a part by itself, a notice by `isBack`.
  function noAnswer(reason) {
    const time = document.createElement("time");
    time.dateTime = new Date(lastAnswer).toISOString();
    time.textContent = `${time.dateTime.slice(0, 10)} ${time.dateTime.slice(11, 19)}\u00a0UTC`;
    const line = document.createElement("p");
    line.append("What is shown here is of ", time, ". The page asks again by itself.");
    announce(line);
    const headline = document.querySelector(".headline[data-part]");
    if (headline) {
      headline.className = "headline bad";
      headline.querySelector(".mark").className = "mark bad";
      headline.querySelector("h1").textContent = reason;
      headline.querySelectorAll("p").forEach((line) => line.remove());
      headline.querySelector("h1").after(line);
      return;
    }
    document.getElementById("no-answer")?.remove();
    const notice = document.createElement("div");
    notice.id = "no-answer";
    notice.className = "notice bad";
    notice.setAttribute("role", "status");
    notice.append(`${reason}.`, line);
    document.getElementById("main").prepend(notice);
  }

  function isBack() {
    lastAnswer = Date.now();
    document.getElementById("no-answer")?.remove();
  }

  async function renew() {
    if (asking) return;
    asking = true;
    try {
      const response = await fetch(location.href, { credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
      if (response.redirected && new URL(response.url).pathname === "/login") return location.reload();
      if (!response.ok) throw new Refusal(String(response.status));
      isBack();
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (paused) return;
      document.title = page.title;
      const [old, fresh] = [parts(document), parts(page)];
      const names = (list) => list.map((part) => part.id).join(" ");
      if (names(old) === names(fresh)) {
        old.forEach((part, place) => replace(part, fresh[place]));
      } else if (!old.some(isInUse)) {
        const main = document.importNode(page.getElementById("main"), true);
        announce(main);
        const focus = document.getElementById("main").contains(document.activeElement);
        document.getElementById("main").replaceWith(main);
        if (focus) main.focus({ preventScroll: true });
      }
      wait = EVERY_MS;
      say("Live");
    } catch (error) {
      wait = Math.min(wait * 2, SLOWEST_MS);
      say("No answer");
      noAnswer(error instanceof Refusal ? `The server answers with an error, ${error.message}` : "The server does not answer");
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
