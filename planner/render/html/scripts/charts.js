// Charts with Observable Plot: points on a line, bars, a roofline. The data is in the page.
"use strict";
(() => {
  const COLOURS = { good: "var(--good)", bad: "var(--bad)", plain: "var(--accent)", muted: "var(--muted)" };

  function format(kind) {
    return { bytes: planner.bytes, seconds: planner.duration, number: planner.significant }[kind] ?? String;
  }

  function ticks(kind, most, number = 5) {
    return kind === "bytes" ? { ticks: planner.byteTicks(most, number), tickFormat: (one) => planner.tick(one, most) }
      : { ticks: number, tickFormat: kind === "seconds" ? planner.duration : undefined };
  }

  // The places on a log scale whose labels do not touch, the ends first.
  function apart(values, pixels) {
    const [low, high] = d3.extent(values);
    const at = d3.scaleLog([low, high], [0, pixels]);
    const taken = [];
    for (const one of [low, high, ...values]) {
      if (taken.every((other) => Math.abs(at(one) - at(other)) > 32)) taken.push(one);
    }
    return taken;
  }

  function line(chart, width) {
    const points = chart.points.filter((point) => point.y !== null);
    const most = Math.max(chart.limit?.y ?? 0, ...points.map((point) => point.y));
    const words = format(chart.unit);
    return Plot.plot({
      width, height: 280, marginLeft: 70, marginRight: 40, marginBottom: 38, className: "plot", ariaLabel: chart.label,
      style: { fontSize: "12px" },
      x: { type: chart.log ? "log" : "linear", label: chart.x, axis: chart.log ? null : undefined },
      y: { label: null, grid: true, domain: [0, most * 1.08], ...ticks(chart.unit, most) },
      marks: [
        Plot.ruleY([0]),
        chart.log ? Plot.axisX(apart(points.map((one) => one.x), width - 110), { label: chart.x, text: String }) : null,
        chart.limit ? Plot.ruleY([chart.limit.y], { stroke: "var(--limit)", strokeDasharray: "6 4" }) : null,
        chart.limit ? Plot.text([chart.limit], { y: "y", frameAnchor: "left", text: "text", dx: 4, dy: -8, textAnchor: "start", fill: "var(--limit)" }) : null,
        Plot.line(points, { x: "x", y: "y", stroke: "var(--accent)", strokeWidth: 1.5 }),
        Plot.dot(points, { x: "x", y: "y", r: 4, fill: (one) => COLOURS[one.tone], stroke: "var(--surface)", symbol: (one) => (one.tone === "bad" ? "square" : "circle") }),
        Plot.text(points.filter((one) => one.mark), { x: "x", y: "y", text: "mark", dy: -12, fill: "var(--text)" }),
        Plot.tip(points, Plot.pointer({ x: "x", y: "y", title: (one) => `${one.name}\n${words(one.y)}`, fill: "var(--surface)" })),
      ],
    });
  }

  function bars(chart, width) {
    const rows = chart.points.filter((point) => point.y !== null);
    const most = Math.max(chart.limit?.y ?? 0, ...rows.map((row) => row.y), 1e-12);
    const words = format(chart.unit);
    const longest = Math.min(width < 500 ? 16 : 44, Math.max(...rows.map((row) => row.name.length)));
    const left = 20 + 6.4 * longest;
    const number = Math.max(1, Math.min(5, Math.floor((width - left - 86) / 60)));
    const short = (name) => (name.length > longest ? `${name.slice(0, longest - 1)}…` : name);
    return Plot.plot({
      width, height: 40 + 26 * rows.length, marginLeft: left, marginRight: 86, className: "plot", ariaLabel: chart.label,
      style: { fontSize: "12px" },
      x: { label: null, grid: true, domain: [Math.min(0, ...rows.map((row) => row.y)), most], ...ticks(chart.unit, most, number) },
      y: { label: null, domain: rows.map((_, at) => at), tickFormat: (at) => short(rows[at].name), tickSize: 0 },
      marks: [
        Plot.barX(rows, { x: "y", y: (_, at) => at, fill: (row) => COLOURS[row.tone], inset: 3, title: (row) => `${row.name}: ${words(row.y)}` }),
        Plot.text(rows, { x: "y", y: (_, at) => at, text: (row) => words(row.y), dx: 6, textAnchor: "start", fill: "var(--text)" }),
        chart.limit ? Plot.ruleX([chart.limit.y], { stroke: "var(--limit)", strokeDasharray: "6 4" }) : null,
        Plot.ruleX([0]),
      ],
    });
  }

  const phase = (name) => `var(--phase-colour-${name.replaceAll(" ", "-")})`;

  function roofline(chart, width) {
    const [low, high] = d3.extent(chart.points, (one) => one.x);
    const top = Math.max(...chart.roofs.map((one) => one.y));
    const from = Math.min(low / 2, top / chart.slope / 10);
    const to = Math.max(high * 2, (top / chart.slope) * 2);
    const bottom = Math.min(...chart.points.map((one) => one.y), top / 10) / 2;
    const slope = [{ x: from, y: from * chart.slope }, { x: top / chart.slope, y: top }];
    const flat = (one) => [{ x: one.y / chart.slope, y: one.y }, { x: to, y: one.y }];
    const rate = (one) => (one >= 1e12 ? `${planner.significant(one / 1e12)} TFLOP/s` : `${planner.significant(one / 1e9)} GFLOP/s`);
    const tick = (one) => (one >= 1e12 ? `${one / 1e12} TFLOP/s` : `${one / 1e9} GFLOP/s`);
    return Plot.plot({
      width, height: 340, marginLeft: 88, marginBottom: 40, className: "plot", ariaLabel: chart.label,
      style: { fontSize: "12px" },
      x: { type: "log", domain: [from, to], label: "FLOPs for each byte read or written", labelAnchor: "center", ticks: width < 500 ? 3 : 6, tickFormat: String, grid: true },
      y: { type: "log", domain: [bottom, top * 2], label: null, ticks: 5, tickFormat: tick, grid: true },
      r: { type: "sqrt", domain: [0, 1], range: [3, 34] },
      marks: [
        Plot.line(slope, { x: "x", y: "y", stroke: "var(--limit)", strokeWidth: 1.5 }),
        ...chart.roofs.map((one) => Plot.line(flat(one), { x: "x", y: "y", stroke: "var(--limit)", strokeWidth: 1.5 })),
        Plot.text(chart.roofs, { x: to, y: "y", text: "name", textAnchor: "end", dy: -7, fill: "var(--limit)" }),
        Plot.dot(chart.points, { x: "x", y: "y", r: "share", fill: (one) => phase(one.phase), fillOpacity: 0.65, stroke: "var(--surface)" }),
        Plot.tip(chart.points, Plot.pointer({ x: "x", y: "y", title: (one) => `${one.name}\n${rate(one.y)}, ${planner.significant(one.x)} FLOPs per byte\n${planner.significant(100 * one.share)} % of the time`, fill: "var(--surface)" })),
      ],
    });
  }

  const KINDS = { line, bars, roofline };

  planner.chart = (holder, chart) => {
    const draw = () => {
      const width = Math.max(260, Math.floor(holder.clientWidth));
      const made = KINDS[chart.kind](chart, width);
      for (const style of made.querySelectorAll("style")) style.remove(); // ours is in the page
      for (const group of made.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label"); // it has no role
      made.setAttribute("role", "img");
      holder.replaceChildren(made);
    };
    if (chart.points.some((point) => point.y !== null)) new ResizeObserver(draw).observe(holder);
    else holder.textContent = "None of these figures is known.";
  };
})();
