// A button copies a payload as it came: the server sends it again, byte for byte.
(() => {
  "use strict";

  const SHOWN_MS = 2000;

  async function textOf(address) {
    const response = await fetch(address, { credentials: "same-origin" });
    if (!response.ok || response.redirected) throw new Error(String(response.status));
    // `text()` would take a byte order mark away.
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(await response.arrayBuffer());
  }

  async function copy(address) {
    const text = textOf(address);
    if (navigator.clipboard && window.ClipboardItem) {
      // Given at once, as some browsers only allow within the click.
      const blob = text.then((text) => new Blob([text], { type: "text/plain" }));
      return navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
    }
    // Without https there is no clipboard but this one.
    const field = document.createElement("textarea");
    field.value = await text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) throw new Error("refused");
  }

  function show() {
    for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await copy(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    button.focus({ preventScroll: true });
    setTimeout(() => (button.textContent = "Copy"), SHOWN_MS);
  });
  show();
  // Parts of the page are replaced as it renews itself.
  new MutationObserver(show).observe(document.body, { childList: true, subtree: true });
})();
