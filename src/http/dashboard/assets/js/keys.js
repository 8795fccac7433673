// Keys of the dashboard. They are listed in keys.html, which the key `?` shows.
(() => {
  "use strict";

  const OFF = "clerk-sync-keys-off";
  const dialog = document.getElementById("keys");
  // Of a visitor who is not logged in there is nothing to lead to.
  if (!dialog) return;
  const button = dialog.querySelector("[data-keys-off]");
  let isOff = localStorage.getItem(OFF) === "yes";

  const rows = () => [...document.querySelectorAll(".rows a.open")];

  function move(step) {
    const all = rows();
    const active = document.activeElement.closest(".rows tr")?.querySelector("a.open");
    const at = all.indexOf(active);
    const next = at < 0 ? all.at(step > 0 ? 0 : -1) : all[at + step];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
    return next;
  }

  function search() {
    const field = document.querySelector("[data-search]");
    field.focus();
    field.select();
    return field;
  }

  function select() {
    const box = document.activeElement.closest(".rows tr")?.querySelector('input[name="ids"]');
    box?.click();
    return box;
  }

  // An event has links to the failed ones beside it.
  function follow(key) {
    const link = document.querySelector(`a[data-key="${key}"]`);
    link?.click();
    return link;
  }

  function show() {
    dialog.showModal();
    return dialog;
  }

  const KEYS = {
    "/": search,
    "?": show,
    j: () => move(1),
    k: () => move(-1),
    x: select,
    n: () => follow("n"),
    p: () => follow("p"),
  };

  const isTyping = (target) => target.closest("input:not([type=checkbox]), select, textarea, [contenteditable]");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented || dialog.open) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape" && event.target.matches("[data-search]")) event.target.blur();
      return;
    }
    // The keys can be turned off, as people who speak to their computer need it; `?` turns them on again.
    if (isOff && event.key !== "?") return;
    if (KEYS[event.key]?.()) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest('a[href="#keys"]')) {
      event.preventDefault();
      show();
    } else if (dialog.open && event.target.closest("[data-close]")) {
      event.preventDefault();
      dialog.close();
    } else if (event.target === dialog) {
      // Beside its content.
      dialog.close();
    }
  });

  const say = () => {
    button.setAttribute("aria-pressed", String(isOff));
    button.textContent = isOff ? "Turn these keys on" : "Turn these keys off";
  };
  button.hidden = false;
  say();
  button.addEventListener("click", () => {
    isOff = !isOff;
    localStorage.setItem(OFF, isOff ? "yes" : "no");
    say();
  });
})();
