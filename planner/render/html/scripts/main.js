// Starts the page: its data, its panels, light and dark.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("planner-data").textContent);
  const theme = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function setTheme(name) {
    document.documentElement.dataset.theme = name;
    theme.textContent = name === "dark" ? "Light" : "Dark";
    theme.setAttribute("aria-label", `Show the page ${name === "dark" ? "light" : "dark"}`);
  }
  setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  theme.addEventListener("click", () =>
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

  planner.panels = [];
  for (const [at, result] of data.results.entries()) {
    const root = document.querySelector(`[data-result="${at}"]`);
    if (result.kind === "estimate") planner.panels.push(new planner.EstimatePanel(root, result, data.blobs));
    for (const bar of root.querySelectorAll("[data-share]")) {
      bar.style.width = `${100 * Number(bar.dataset.share)}%`;
      bar.style.marginLeft = `${100 * Number(bar.dataset.begin)}%`;
    }
    for (const holder of root.querySelectorAll("[data-chart]")) {
      planner.chart(holder, result.charts[Number(holder.dataset.chart)]);
    }
  }
  planner.ready = Promise.all(planner.panels.map((panel) => panel.ready)).then(
    () => document.documentElement.setAttribute("data-ready", "yes"),
    (error) => {
      const note = document.getElementById("failed");
      note.hidden = false;
      note.textContent = `The charts cannot be drawn in this browser (${error.message}); the tables hold the figures.`;
    },
  );
  window.planner = planner;
})();
