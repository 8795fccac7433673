// A chart is one stop of the Tab key; the arrow keys lead from bar to bar, and Enter to the events of one.
(() => {
  "use strict";

  document.addEventListener("keydown", (event) => {
    const chart = event.target.closest?.("[data-chart]");
    if (!chart || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = [...chart.querySelectorAll("a[data-step]")];
    const at = steps.indexOf(event.target);
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (at < 0 || next === undefined || !steps[next]) return;
    event.preventDefault();
    for (const step of steps) step.setAttribute("tabindex", step === steps[next] ? "0" : "-1");
    steps[next].focus();
  });
})();
