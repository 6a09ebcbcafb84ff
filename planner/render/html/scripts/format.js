// Numbers as words, alike to planner.units. In: bytes, counts. Out: text.
"use strict";
const planner = {};
(() => {
  const UNITS = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];

  planner.bytes = (size) => {
    for (const [factor, unit] of UNITS) {
      const value = size / factor;
      if (Math.abs(value) >= 1 - 0.5 / 1024) {
        const digits = Math.abs(value) < 9.995 ? 2 : Math.abs(value) < 99.95 ? 1 : 0;
        return `${value.toFixed(digits)} ${unit}`;
      }
    }
    return `${size} B`;
  };

  planner.count = (number) => number.toLocaleString("en-US");

  planner.exact = (size) => `${planner.count(size)} bytes`;

  planner.percent = (share) => {
    const percent = 100 * share;
    return percent >= 9.95 ? `${percent.toFixed(0)} %` : `${percent.toFixed(1)} %`;
  };

  planner.significant = (value) => {
    const size = Math.abs(value);
    if (size >= 99.95) return value.toFixed(0);
    if (size >= 0.9995) return value.toFixed(size < 9.995 ? 2 : 1);
    return value ? value.toPrecision(3) : "0";
  };

  planner.duration = (seconds) => {
    for (const [factor, unit] of [[3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"]]) {
      if (seconds >= 0.9995 * factor) return `${planner.significant(seconds / factor)} ${unit}`;
    }
    return `${planner.significant(seconds * 1e6)} us`;
  };

  // Ticks at round numbers of a binary unit.
  planner.byteTicks = (most, about) => {
    const [factor] = UNITS.find(([size]) => most >= size) ?? [1];
    return d3.ticks(0, most / factor, about).map((tick) => tick * factor);
  };

  planner.tick = (size, most) => {
    const [factor, unit] = UNITS.find(([one]) => most >= one) ?? [1, "B"];
    return `${+(size / factor).toPrecision(6)} ${unit}`;
  };

  // A new element; text is never read as HTML.
  planner.make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") made.textContent = value;
      else if (value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  };

  planner.colour = (category) => `var(--category-${category.replaceAll(" ", "-")})`;
  planner.ink = (category) => `var(--ink-${category.replaceAll(" ", "-")})`;
})();
