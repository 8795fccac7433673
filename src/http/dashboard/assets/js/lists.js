// Lists. Without this a row is a link as a whole; with it, its text can be selected too, and so can all of its rows at once.
(() => {
  "use strict";

  // As many as the server takes at once.
  const SELECTED_MAX = 100;
  document.documentElement.classList.add("scripted");

  const boxes = (form) => [...form.querySelectorAll('input[name="ids"]')];

  // A click on a row is one on its link, with the same keys held.
  function open(event) {
    const link = event.target.closest(".rows tbody tr")?.querySelector("a.open");
    if (!link || event.target.closest("a, button, input, label, select, summary")) return;
    if (!document.getSelection().isCollapsed) return;
    const { ctrlKey, metaKey, shiftKey, button } = event;
    link.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, view: window, ctrlKey, metaKey, shiftKey, button }));
  }

  function count(form) {
    const all = boxes(form);
    const selected = all.filter((box) => box.checked).length;
    const most = selected > SELECTED_MAX ? `, ${SELECTED_MAX} at most` : "";
    form.querySelector("[data-selected]").textContent = selected ? `${selected} selected${most}` : "";
    const every = form.querySelector("[data-all]");
    every.checked = selected > 0 && selected === Math.min(all.length, SELECTED_MAX);
    every.indeterminate = selected > 0 && !every.checked;
  }

  document.addEventListener("click", open);
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form");
    if (event.target.matches("[data-all]")) {
      boxes(form).forEach((box, place) => (box.checked = event.target.checked && place < SELECTED_MAX));
      count(form);
    } else if (event.target.matches('input[name="ids"]')) {
      count(form);
    }
  });
  // A browser that goes back restores what was selected.
  window.addEventListener("pageshow", () => {
    const form = document.querySelector("[data-all]")?.closest("form");
    if (form) count(form);
  });
})();
