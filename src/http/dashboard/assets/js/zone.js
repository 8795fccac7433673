// Times are in UTC, as the server writes them. A switch shows them in the reader's own zone instead, and the browser remembers it.
(() => {
  "use strict";

  const ZONE = "clerk-sync-zone";
  const button = document.getElementById("zone");
  let isLocal = localStorage.getItem(ZONE) === "local";

  // Each part of a time by its name, such as `hour`, and the short name of its zone.
  const format = new Intl.DateTimeFormat("en-CA", {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short",
  });
  const partsOf = (iso) => Object.fromEntries(format.formatToParts(new Date(iso)).map(({ type, value }) => [type, value]));

  const exact = (iso) => {
    const { year, month, day, hour, minute, second, timeZoneName } = partsOf(iso);
    return `${year}-${month}-${day} ${hour}:${minute}:${second}\u00a0${timeZoneName}`;
  };

  const inChart = (iso, form, withZone) => {
    const { year, month, day, hour, minute, timeZoneName } = partsOf(iso);
    // A day of UTC begins at another hour elsewhere.
    const begins = hour + minute === "0000" ? "" : ` ${hour}:${minute}`;
    const text = { clock: `${hour}:${minute}`, day: `${month}-${day}${begins}`, both: `${year}-${month}-${day} ${hour}:${minute}` }[form];
    return withZone ? `${text} ${timeZoneName}` : text;
  };

  // The text of the server stays with its element, for the way back. Only a text that is a time with its zone is replaced: an age
  // stays as it is.
  function text(element, own) {
    element.dataset.utc ??= element.textContent;
    const shown = isLocal ? own(element.dataset.utc) : element.dataset.utc;
    if (element.textContent !== shown) element.textContent = shown;
    return shown;
  }

  function localize(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const utc = `${time.dateTime.slice(0, 10)} ${time.dateTime.slice(11, 19)}\u00a0UTC`;
      text(time, (was) => (was.endsWith("UTC") ? exact(time.dateTime) : was));
      time.title = `${utc} · ${exact(time.dateTime)}`;
    }
    for (const label of root.querySelectorAll("text[data-at]")) {
      text(label, () => inChart(label.dataset.at, label.dataset.form, false));
    }
    const { timeZoneName } = partsOf(new Date());
    for (const name of root.querySelectorAll(".zone-name")) text(name, () => timeZoneName);
    for (const title of root.querySelectorAll("title[data-at]")) {
      const shown = text(title, (was) => was.replace(/^.*? UTC/, inChart(title.dataset.at, title.dataset.form, true)));
      title.parentNode.querySelector("a[aria-label]")?.setAttribute("aria-label", shown);
    }
  }

  function show() {
    localize(document);
    button?.setAttribute("aria-pressed", String(isLocal));
    const name = document.getElementById("zone-name");
    if (name) name.textContent = isLocal ? `your zone, ${Intl.DateTimeFormat().resolvedOptions().timeZone}` : "UTC";
  }

  // What another script adds to the page.
  document.addEventListener("clerk-sync:fresh", (event) => localize(event.detail));
  if (button) {
    button.hidden = false;
    button.title = "Show times in your own zone, not in UTC";
    button.addEventListener("click", () => {
      isLocal = !isLocal;
      localStorage.setItem(ZONE, isLocal ? "local" : "utc");
      show();
    });
  }
  show();
})();
