// The memory of a step from request to request: stacked areas by category, zoom, and what is alive
// at a request. Each pixel column shows its highest and its lowest level, so no peak is lost.
"use strict";
(() => {
  const MARGIN = { top: 46, right: 14, bottom: 34, left: 68 };
  const SVG = "http://www.w3.org/2000/svg";
  const LIVE_SHOWN = 5;

  function draw(tag, attributes, parent) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") made.textContent = value;
      else if (name === "fill" || name === "stroke") made.style[name] = value;
      else made.setAttribute(name, value);
    }
    parent?.append(made);
    return made;
  }

  // The requests with the highest and the lowest level of each pixel column.
  function columnsOf(timeline, begin, end, width) {
    const span = end - begin;
    const highest = new Int32Array(width);
    const lowest = new Int32Array(width);
    for (let column = 0; column < width; column += 1) {
      const first = begin + Math.floor((column * span) / width);
      const last = Math.max(first + 1, begin + Math.floor(((column + 1) * span) / width));
      let high = first;
      let low = first;
      for (let at = first + 1; at < last; at += 1) {
        if (timeline.allocated[at] > timeline.allocated[high]) high = at;
        if (timeline.allocated[at] < timeline.allocated[low]) low = at;
      }
      highest[column] = high;
      lowest[column] = low;
    }
    return { highest, lowest };
  }

  function steps(values) {
    let path = `M0,${values[0]}`;
    for (let at = 1; at < values.length; at += 1) {
      if (values[at] !== values[at - 1]) path += `H${at}V${values[at]}`;
    }
    return `${path}H${values.length}`;
  }

  function band(upper, lower) {
    let path = steps(upper);
    path += `V${lower[lower.length - 1]}`;
    for (let at = lower.length - 1; at > 0; at -= 1) {
      if (lower[at] !== lower[at - 1]) path += `H${at}V${lower[at - 1]}`;
    }
    return `${path}H0Z`;
  }

  class TimelineChart {
    constructor(holder, readout, card) {
      this.holder = holder;
      this.readout = readout;
      this.card = card;
      this.toLimit = false;
      this.cursor = null;
      this.view = [0, 1]; // shares of the run, so that another batch keeps the part
      this.#listen();
      new ResizeObserver(() => this.timeline && this.draw()).observe(holder);
    }

    show(timeline, card) {
      this.timeline = timeline;
      this.card = card;
      this.cursor = null;
      this.draw();
      this.#tell(timeline.peakAt, "At the peak");
    }

    #range() {
      const { count } = this.timeline;
      const begin = Math.max(0, Math.min(count - 1, Math.round(this.view[0] * count)));
      return [begin, Math.max(begin + 1, Math.min(count, Math.round(this.view[1] * count)))];
    }

    draw() {
      const width = Math.max(160, Math.floor(this.holder.clientWidth) - MARGIN.left - MARGIN.right);
      const height = width < 500 ? 220 : 300;
      const [begin, end] = this.#range();
      const columns = columnsOf(this.timeline, begin, end, width);
      Object.assign(this, { width, height, begin, end, columns });
      const { allocated, reserved } = this.timeline;
      let top = 0;
      for (const at of columns.highest) top = Math.max(top, allocated[at], reserved?.[at] ?? 0);
      const highest = Math.max(...Array.from(columns.highest, (at) => allocated[at]));
      this.limitShown = this.toLimit || this.card.room_bytes <= 1.25 * top;
      const most = 1.06 * (this.limitShown ? Math.max(top, this.card.room_bytes) : top) || 1;
      this.y = (bytes) => +(height - (bytes / most) * height).toFixed(2);
      const svg = draw("svg", {
        width: width + MARGIN.left + MARGIN.right,
        height: height + MARGIN.top + MARGIN.bottom,
        viewBox: `0 0 ${width + MARGIN.left + MARGIN.right} ${height + MARGIN.top + MARGIN.bottom}`,
        role: "img",
        "aria-label":
          `Memory after each request to the allocator, requests ${planner.count(begin + 1)} to ` +
          `${planner.count(end)}; highest ${planner.bytes(highest)} allocated`,
        "data-highest-bytes": highest,
        "data-begin": begin,
        "data-end": end,
      });
      this.inner = draw("g", { transform: `translate(${MARGIN.left},${MARGIN.top})` }, svg);
      this.#phases();
      this.#axes(most);
      this.#areas();
      this.#lines(begin, end);
      this.marker = draw("g", { class: "cursor" }, this.inner);
      this.brush = draw("rect", { class: "brush", y: 0, height, width: 0 }, this.inner);
      this.holder.querySelector("svg")?.remove();
      this.holder.append(svg);
      if (this.cursor !== null) this.#mark(this.cursor);
    }

    #x(request) {
      return ((request - this.begin) / (this.end - this.begin)) * this.width;
    }

    #phases() {
      const seen = new Map();
      for (const [number, span] of this.timeline.phases.entries()) {
        if (span.end <= this.begin || span.begin >= this.end) continue;
        const from = Math.max(0, this.#x(span.begin));
        const to = Math.min(this.width, this.#x(span.end));
        const name = span.phase.replaceAll(" ", "-");
        const fill = `var(--phase-${name})`;
        draw("rect", { class: "phase", x: from, y: -20, width: to - from, height: 16, fill }, this.inner);
        if (number % 2) {
          draw("rect", { class: "stripe", x: from, y: 0, width: to - from, height: this.height }, this.inner);
        }
        const label = span.phase;
        if (to - from > 6.4 * label.length + 6) {
          draw("text", { class: "phase-name", x: (from + to) / 2, y: -8, text: label, fill: `var(--phase-ink-${name})` }, this.inner);
        }
        const step = seen.get(span.step) ?? [from, to];
        seen.set(span.step, [Math.min(step[0], from), Math.max(step[1], to)]);
      }
      for (const [step, [from, to]] of seen) {
        const label = step === 0 ? "build" : `step ${step}`;
        draw("line", { class: "step-edge", x1: from, x2: from, y1: -38, y2: this.height }, this.inner);
        if (to - from > 7 * label.length + 6) {
          draw("text", { class: "step-name", x: from + 5, y: -27, text: label }, this.inner);
        }
      }
    }

    #axes(most) {
      for (const tick of planner.byteTicks(most, this.height / 55)) {
        const y = this.y(tick);
        if (y < 0) continue;
        draw("line", { class: "grid", x1: 0, x2: this.width, y1: y, y2: y }, this.inner);
        const text = planner.tick(tick, most);
        draw("text", { class: "tick end", x: -8, y: y + 4, text }, this.inner);
      }
      const numbers = d3.ticks(this.begin + 1, this.end, Math.max(2, this.width / 130));
      for (const tick of numbers.filter(Number.isInteger)) {
        const x = this.#x(tick - 1);
        if (x < 0 || x > this.width) continue;
        const side = x > this.width - 30 ? "end" : x < 20 ? "" : "middle";
        draw("text", { class: `tick ${side}`, x, y: this.height + 17, text: planner.count(tick) }, this.inner);
      }
    }

    #areas() {
      const { highest, lowest } = this.columns;
      const { parts, allocated } = this.timeline;
      const sums = new Float64Array(this.width);
      let lower = new Array(this.width).fill(this.y(0));
      for (const part of parts) {
        const upper = new Array(this.width);
        for (let column = 0; column < this.width; column += 1) {
          sums[column] += part.levels[highest[column]];
          upper[column] = this.y(sums[column]);
        }
        if (part.levels.some(Boolean)) {
          draw("path", { class: "area", d: band(upper, lower), fill: planner.colour(part.name) }, this.inner);
        }
        lower = upper;
      }
      const dips = Array.from(lowest, (at) => this.y(allocated[at]));
      if (dips.some((dip, column) => dip !== lower[column])) {
        draw("path", { class: "dips", d: band(lower, dips) }, this.inner);
      }
    }

    #lines(begin, end) {
      const { reserved, allocated, peakAt } = this.timeline;
      if (reserved) {
        const span = end - begin;
        const levels = new Array(this.width);
        for (let column = 0; column < this.width; column += 1) {
          const first = begin + Math.floor((column * span) / this.width);
          const last = Math.max(first + 1, begin + Math.floor(((column + 1) * span) / this.width));
          let level = reserved[first];
          for (let at = first + 1; at < last; at += 1) level = Math.max(level, reserved[at]);
          levels[column] = this.y(level);
        }
        draw("path", { class: "reserved", d: steps(levels) }, this.inner);
      }
      if (this.limitShown) {
        const y = this.y(this.card.room_bytes);
        draw("line", { class: "limit", x1: 0, x2: this.width, y1: y, y2: y }, this.inner);
        const text = `room for PyTorch ${planner.bytes(this.card.room_bytes)}`;
        draw("text", { class: "limit-name end", x: this.width, y: y < 18 ? y + 15 : y - 6, text }, this.inner);
      }
      if (peakAt >= begin && peakAt < end) {
        const x = this.#x(peakAt + 0.5);
        const y = this.y(allocated[peakAt]);
        draw("circle", { class: "peak", cx: x, cy: y, r: 4 }, this.inner);
      }
    }

    #mark(index) {
      const x = this.#x(index + 0.5);
      this.marker.replaceChildren();
      draw("line", { x1: x, x2: x, y1: 0, y2: this.height }, this.marker);
      draw("circle", { cx: x, cy: this.y(this.timeline.allocated[index]), r: 3.5 }, this.marker);
    }

    #tell(index, lead) {
      const { timeline } = this;
      const phase = planner.phaseAt(timeline, index);
      const owner = timeline.owners[index];
      const level = planner.bytes(timeline.allocated[index]);
      const held = timeline.reserved ? `, ${planner.bytes(timeline.reserved[index])} reserved` : "";
      const where = phase.step === 0 ? "build" : `step ${phase.step}, ${phase.phase}`;
      const head = `${lead ?? `Request ${planner.count(index + 1)}`}: ${where}`;
      const lines = [
        planner.make("p", { class: "readout-head", text: head }),
        planner.make("p", { class: "readout-level", text: `${level} allocated${held}` }),
      ];
      if (owner >= 0) {
        const verb = owner === index ? "Allocates" : "Frees";
        const size = planner.bytes(Math.abs(timeline.changes[owner]));
        lines.push(
          planner.make("p", { class: "readout-block" },
            planner.make("span", { text: `${verb} ${size}, ${timeline.category(owner)}` }),
            planner.make("span", { class: "place", text: planner.place(timeline.origin(owner)) })),
        );
      }
      const list = planner.make("ol", { class: "live" });
      for (const at of planner.largestAt(timeline, index, LIVE_SHOWN)) {
        const key = planner.make("i", { class: "key" });
        key.style.background = planner.colour(timeline.category(at));
        list.append(
          planner.make("li", {}, key,
            planner.make("b", { text: planner.bytes(timeline.changes[at]) }),
            planner.make("span", { text: timeline.category(at) }),
            planner.make("span", { class: "place", text: planner.place(timeline.origin(at)) })),
        );
      }
      this.readout.replaceChildren(
        planner.make("div", {}, ...lines),
        planner.make("div", {}, planner.make("p", { class: "readout-head", text: "Largest blocks alive" }), list),
      );
    }

    at(index) {
      this.cursor = Math.max(this.begin, Math.min(this.end - 1, index));
      this.#mark(this.cursor);
      this.#tell(this.cursor);
    }

    zoomTo(begin, end) {
      const { count } = this.timeline;
      const least = Math.min(count, 8);
      const size = Math.max(least, Math.min(count, end - begin));
      const from = Math.max(0, Math.min(count - size, Math.round((begin + end - size) / 2)));
      this.view = [from / count, (from + size) / count];
      this.draw();
    }

    zoom(factor) {
      const centre = this.cursor ?? (this.#sees(this.timeline.peakAt) ? this.timeline.peakAt : (this.begin + this.end) / 2);
      const half = ((this.end - this.begin) * factor) / 2;
      this.zoomTo(centre - half, centre + half);
    }

    toPeak() {
      const around = Math.max(40, Math.round(this.timeline.count / 50));
      this.zoomTo(this.timeline.peakAt - around, this.timeline.peakAt + around);
      this.at(this.timeline.peakAt);
    }

    whole() {
      this.view = [0, 1];
      this.draw();
    }

    #sees(index) {
      return index >= this.begin && index < this.end;
    }

    #column(event) {
      const left = this.holder.getBoundingClientRect().left + MARGIN.left;
      return Math.max(0, Math.min(this.width - 1, Math.floor(event.clientX - left)));
    }

    #listen() {
      let from = null;
      this.holder.addEventListener("pointerdown", (event) => {
        if (!this.timeline || event.button !== 0) return;
        from = this.#column(event);
      });
      this.holder.addEventListener("pointermove", (event) => {
        if (!this.timeline) return;
        const column = this.#column(event);
        if (from !== null && Math.abs(column - from) > 3) {
          this.brush.setAttribute("x", Math.min(from, column));
          this.brush.setAttribute("width", Math.abs(column - from));
        }
        this.at(this.columns.highest[column]);
      });
      const end = (event) => {
        if (from === null) return;
        const [low, high] = d3.extent([from, this.#column(event)]);
        from = null;
        this.brush.setAttribute("width", 0);
        if (event.type === "pointerup" && high - low > 3) {
          const share = (this.end - this.begin) / this.width;
          this.zoomTo(Math.floor(this.begin + low * share), Math.ceil(this.begin + (high + 1) * share));
        }
      };
      for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
        this.holder.addEventListener(name, end);
      }
      this.holder.addEventListener("dblclick", () => this.timeline && this.whole());
      this.holder.addEventListener("keydown", (event) => this.#key(event));
    }

    #key(event) {
      if (!this.timeline || event.ctrlKey || event.metaKey || event.altKey) return;
      const pixel = Math.max(1, Math.round((this.end - this.begin) / this.width));
      const far = event.shiftKey ? 20 : 1;
      const here = this.cursor ?? this.timeline.peakAt;
      const actions = {
        ArrowLeft: () => this.#walk(here - pixel * far),
        ArrowRight: () => this.#walk(here + pixel * far),
        Home: () => this.#walk(this.begin),
        End: () => this.#walk(this.end - 1),
        "+": () => this.zoom(0.5),
        "=": () => this.zoom(0.5),
        "-": () => this.zoom(2),
        0: () => this.whole(),
        Escape: () => this.whole(),
        p: () => this.toPeak(),
      };
      const action = actions[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    }

    #walk(index) {
      const to = Math.max(0, Math.min(this.timeline.count - 1, index));
      if (!this.#sees(to)) {
        const half = (this.end - this.begin) / 2;
        this.zoomTo(to - half, to + half);
      }
      this.at(to);
    }
  }

  planner.TimelineChart = TimelineChart;
})();
