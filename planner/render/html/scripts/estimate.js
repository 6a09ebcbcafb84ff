// One result of planner estimate: card, batch, and the charts that follow them.
"use strict";
(() => {
  const SHOWN = 10;
  const HIDDEN_MS = 100; // a page in the background has no frames

  const idle = () => new Promise((go) => (window.requestIdleCallback ?? setTimeout)(go));
  const shown = () =>
    new Promise((go) => {
      requestAnimationFrame(() => setTimeout(go));
      setTimeout(go, HIDDEN_MS);
    });

  class EstimatePanel {
    constructor(root, result, blobs) {
      Object.assign(this, { root, result, blobs });
      this.cardAt = 0;
      this.slider = this.#one("slider");
      this.chart = new planner.TimelineChart(this.#one("timeline"), this.#one("readout"), result.cards[0]);
      this.treemap = new planner.Treemap(this.#one("treemap"), this.#one("trail"), this.#one("parts"));
      this.by = "module";
      this.#listen();
      this.ready = this.#card(0);
    }

    // While nothing else is to be done, so that the slider need not wait for it.
    async #prepareAhead() {
      const { card } = this;
      for (const batch of card.batches) {
        await idle();
        if (card !== this.card) return;
        if (batch.timeline) await this.#timelineOf(batch);
      }
    }

    // Timelines of the card that is shown are kept; those of other cards would be many MB.
    #timelineOf(batch) {
      if (!this.timelines.has(batch)) {
        this.timelines.set(batch, planner.timeline(this.result, this.blobs, batch.timeline));
      }
      return this.timelines.get(batch);
    }

    #one(part) {
      return this.root.querySelector(`[data-part="${part}"]`);
    }

    get card() {
      return this.result.cards[this.cardAt];
    }

    #listen() {
      this.slider.addEventListener("input", () => {
        this.ready = this.#batch(Number(this.slider.value));
      });
      this.#one("card")?.addEventListener("change", (event) => {
        this.ready = this.#card(Number(event.target.value));
      });
      const actions = {
        "zoom-in": () => this.chart.zoom(0.5),
        "zoom-out": () => this.chart.zoom(2),
        "zoom-peak": () => this.chart.toPeak(),
        "zoom-whole": () => this.chart.whole(),
      };
      for (const [part, action] of Object.entries(actions)) {
        this.#one(part).addEventListener("click", () => this.timeline && action());
      }
      this.#one("to-limit").addEventListener("change", (event) => {
        this.chart.toLimit = event.target.checked;
        if (this.timeline) this.chart.draw();
      });
      for (const button of this.root.querySelectorAll("[data-by]")) {
        button.addEventListener("click", () => {
          this.by = button.dataset.by;
          this.#peak();
        });
      }
    }

    async #card(at) {
      this.cardAt = at;
      this.timelines = new Map();
      for (const part of this.root.querySelectorAll("[data-card]")) {
        part.hidden = Number(part.dataset.card) !== at;
      }
      const { batches } = this.card;
      this.slider.max = batches.length - 1;
      this.slider.disabled = batches.length < 2;
      const run = batches.findIndex((one) => one.is_run);
      this.slider.value = run;
      this.#ticks();
      await this.#batch(run);
      this.#prepareAhead().catch(() => {}); // the batch itself says what is wrong
    }

    #ticks() {
      const { batches, largest_batch_size: largest, suggested_batch_size: suggested } = this.card;
      const marks = batches.map((one, at) => {
        const words = [];
        if (one.is_run) words.push("run");
        if (one.batch === largest) words.push("largest");
        else if (one.batch === suggested) words.push("suggested");
        const tick = planner.make("span", { class: words.length ? "tick named" : "tick" },
          planner.make("i"), planner.make("b", { text: one.batch }), planner.make("em", { text: words.join(", ") }));
        const share = batches.length > 1 ? at / (batches.length - 1) : 0;
        tick.style.left = `calc(10px + (100% - 20px) * ${share})`;
        return tick;
      });
      this.#one("ticks").replaceChildren(...marks);
      this.#thinTicks();
    }

    // Labels that would touch are left out, those with a name last.
    #thinTicks() {
      const ticks = [...this.#one("ticks").children];
      const taken = [];
      for (const tick of [...ticks].sort((one, two) => two.classList.contains("named") - one.classList.contains("named"))) {
        const box = tick.getBoundingClientRect();
        const free = taken.every(([from, to]) => box.right + 4 < from || box.left - 4 > to);
        tick.classList.toggle("bare", !free);
        if (free) taken.push([box.left, box.right]);
      }
    }

    async #batch(at) {
      const found = this.card.batches[at];
      const asked = (this.asked = Symbol("batch"));
      this.batch = found;
      this.#figures();
      this.#one("timeline-box").hidden = !found.timeline;
      this.#one("no-timeline").hidden = Boolean(found.timeline);
      if (found.timeline) {
        const timeline = await this.#timelineOf(found);
        if (asked !== this.asked) return;
        this.timeline = timeline;
        this.chart.show(timeline, this.card);
        this.#legend();
        this.#phases();
        await shown(); // the parts of the peak may come a moment later
        if (asked !== this.asked) return;
      }
      this.#peak();
      this.#largest();
    }

    #figures() {
      const { batch, card } = this;
      const run = card.batches.find((one) => one.is_run);
      const texts = {
        batch: planner.count(batch.batch),
        words: batch.words.charAt(0).toUpperCase() + batch.words.slice(1),
        "device-total": planner.bytes(batch.device_total_bytes),
        "peak-allocated": planner.bytes(batch.peak_allocated_bytes),
        "peak-reserved": planner.bytes(batch.peak_reserved_bytes),
        free: this.#room(),
        "batch-note": batch.is_run
          ? "the batch of the run"
          : `by replay of the requests recorded at batch ${run.batch} and others`,
      };
      for (const [name, text] of Object.entries(texts)) {
        for (const place of this.root.querySelectorAll(`[data-figure="${name}"]`)) {
          place.textContent = text;
          if (name in this.#exact()) place.title = planner.exact(this.#exact()[name]);
        }
      }
      for (const place of this.root.querySelectorAll("[data-only-run]")) place.hidden = !batch.is_run;
      for (const place of this.root.querySelectorAll("[data-other-batch]")) place.hidden = batch.is_run;
      const verdict = this.#one("verdict");
      verdict.dataset.verdict = batch.fits ? "fits" : "not";
      verdict.dataset.deviceTotalBytes = batch.device_total_bytes;
      verdict.dataset.peakAllocatedBytes = batch.peak_allocated_bytes;
      this.slider.setAttribute("aria-valuetext", `batch ${batch.batch}, ${batch.words}`);
      this.#meter();
    }

    #exact() {
      return {
        "device-total": this.batch.device_total_bytes,
        "peak-allocated": this.batch.peak_allocated_bytes,
        "peak-reserved": this.batch.peak_reserved_bytes,
      };
    }

    #room() {
      const { batch, card } = this;
      const taken = batch.device_total_bytes + card.reserve_bytes;
      const kept = card.reserve_bytes ? `, with ${planner.bytes(card.reserve_bytes)} kept free` : "";
      const left = card.usable_memory_bytes - taken;
      const word = left >= 0 ? "free" : "too much";
      return `${planner.bytes(Math.abs(left))} ${word} of ${planner.bytes(card.usable_memory_bytes)}${kept}`;
    }

    #meter() {
      const { batch, card } = this;
      const parts = [
        ["allocated", "in tensors at the peak", batch.peak_allocated_bytes],
        ["cache", "held by PyTorch beyond that", batch.peak_reserved_bytes - batch.peak_allocated_bytes],
        ["context", "CUDA context and libraries", batch.device_total_bytes - batch.peak_reserved_bytes],
        ["kept", "kept free", card.reserve_bytes],
      ].filter(([, , size]) => size > 0);
      const whole = Math.max(card.usable_memory_bytes, batch.device_total_bytes + card.reserve_bytes);
      const bar = parts.map(([name, , size]) => {
        const part = planner.make("span", { class: name });
        part.style.width = `${(100 * size) / whole}%`;
        return part;
      });
      const limit = planner.make("span", { class: "limit-mark" });
      limit.style.left = `${(100 * card.usable_memory_bytes) / whole}%`;
      this.#one("meter").replaceChildren(...bar, limit);
      this.#one("meter-key").replaceChildren(
        ...parts.map(([name, words, size]) =>
          planner.make("li", {}, planner.make("i", { class: `key ${name}` }), `${words} `,
            planner.make("b", { text: planner.bytes(size), title: planner.exact(size) }))),
      );
    }

    #legend() {
      const rows = this.timeline.parts.map((part) => {
        const key = planner.make("i", { class: "key" });
        key.style.background = planner.colour(part.name);
        const now = part.levels[this.timeline.peakAt];
        return planner.make("li", {}, key, `${part.name} `, planner.make("b", { text: planner.bytes(now) }));
      });
      if (this.timeline.reserved) {
        rows.push(planner.make("li", {}, planner.make("i", { class: "key line" }), "reserved ",
          planner.make("b", { text: planner.bytes(d3.max(this.timeline.reserved)) })));
      }
      rows.push(planner.make("li", {}, planner.make("i", { class: "key dashed" }), "room for PyTorch ",
        planner.make("b", { text: planner.bytes(this.card.room_bytes) })));
      this.#one("legend").replaceChildren(...rows);
      const off = this.#one("peak-off");
      const above = this.batch.peak_allocated_bytes - this.timeline.allocated[this.timeline.peakAt];
      off.hidden = above === 0;
      off.textContent = above === 0 ? "" :
        `The blocks that were recorded add up to ${planner.exact(Math.abs(above))} ${above > 0 ? "less" : "more"} ` +
        "than the peak allocated of the run.";
    }

    #phases() {
      const { allocated, reserved, phases } = this.timeline;
      const rows = phases.map((span) => {
        const levels = allocated.subarray(span.begin, span.end);
        const held = reserved ? planner.bytes(d3.max(reserved.subarray(span.begin, span.end))) : "not known";
        return planner.make("tr", {},
          planner.make("th", { scope: "row", text: span.step === 0 ? "build" : `step ${span.step}, ${span.phase}` }),
          planner.make("td", { class: "number", text: `${planner.count(span.begin + 1)} to ${planner.count(span.end)}` }),
          planner.make("td", { class: "number", text: planner.bytes(d3.max(levels)), title: planner.exact(d3.max(levels)) }),
          planner.make("td", { class: "number", text: held }));
      });
      this.#one("phases").replaceChildren(...rows);
    }

    #blocks() {
      if (this.batch.timeline) {
        const { timeline } = this;
        return planner.liveAt(timeline, timeline.peakAt).map((at) => ({
          size: timeline.changes[at],
          category: timeline.category(at),
          ...timeline.origin(at),
        }));
      }
      const { peak } = this.card;
      if (!peak) return [];
      const of = this.by === "module" ? peak.modules : peak.categories;
      return Object.entries(of).map(([name, size]) =>
        this.by === "module"
          ? { size, module: name, category: "unattributed" }
          : { size, module: "", category: name });
    }

    #peak() {
      for (const button of this.root.querySelectorAll("[data-by]")) {
        button.setAttribute("aria-pressed", button.dataset.by === this.by);
      }
      const blocks = this.#blocks().filter((block) => block.size > 0);
      this.#one("peak-box").hidden = blocks.length === 0;
      this.#one("no-peak").hidden = blocks.length > 0;
      if (blocks.length) this.treemap.show(blocks, this.by);
    }

    #largest() {
      const rows = this.batch.timeline
        ? planner.largestAt(this.timeline, this.timeline.peakAt, SHOWN).map((at) => ({
            bytes: this.timeline.changes[at],
            category: this.timeline.category(at),
            ...planner.phaseAt(this.timeline, at),
            ...this.timeline.origin(at),
          }))
        : this.card.peak?.largest ?? [];
      const cell = (text) => planner.make("td", { class: "long", text: text || "–" });
      this.#one("largest").replaceChildren(...rows.map((row) => {
        const key = planner.make("i", { class: "key" });
        key.style.background = planner.colour(row.category);
        const where = [row.operator, row.source].filter(Boolean).join(" · ");
        return planner.make("tr", {},
          planner.make("td", { class: "number", text: planner.bytes(row.bytes), title: planner.exact(row.bytes) }),
          planner.make("td", { class: "category" }, key, row.category),
          cell(planner.named(row)),
          cell(where), planner.make("td", { text: row.phase }));
      }));
    }
  }

  planner.EstimatePanel = EstimatePanel;
})();
