// The blocks that are alive at the peak as areas: by module, or by category. A group opens on click.
"use strict";
(() => {
  const ROOT = "the model";
  const SMALLEST = 0.0005; // share of the whole below which alike parts are drawn as one

  function child(parent, name) {
    if (!parent.index) parent.index = new Map();
    if (!parent.index.has(name)) {
      const made = { name, size: 0 };
      parent.index.set(name, made);
    }
    return parent.index.get(name);
  }

  function add(root, path, size, category) {
    let node = root;
    node.size += size;
    for (const name of path) {
      node = child(node, name);
      node.size += size;
    }
    node.category = category;
  }

  function kids(node) {
    return node.index ? [...node.index.values()].sort((one, two) => two.size - one.size) : [];
  }

  // blocks: [{ module, category, size }]
  planner.peakTree = (blocks, by) => {
    const root = { name: by === "module" ? ROOT : "peak allocated", size: 0 };
    for (const block of blocks) {
      const module = block.module ? block.module.split(".") : ["outside of any submodule"];
      const path = by === "module" ? [...module, block.category] : [block.category, ...module];
      add(root, path, block.size, block.category);
    }
    return root;
  };

  // Skips groups with a single part: a.b.c in place of a > b > c.
  function folded(node, root) {
    const names = [node.name];
    let inner = node;
    while (kids(inner).length === 1 && kids(kids(inner)[0]).length) {
      inner = kids(inner)[0];
      names.push(inner.name);
    }
    return { name: node === root ? node.name : names.join("."), size: node.size, inner };
  }

  function colourOf(node) {
    const sums = new Map();
    const walk = (one) => {
      if (!one.index) sums.set(one.category, (sums.get(one.category) ?? 0) + one.size);
      else for (const part of one.index.values()) walk(part);
    };
    walk(node);
    return [...sums].sort((one, two) => two[1] - one[1])[0][0];
  }

  class Treemap {
    constructor(holder, trail, table) {
      Object.assign(this, { holder, trail, table });
      new ResizeObserver(() => this.root && this.draw()).observe(holder);
    }

    show(blocks, by) {
      const same = by === this.by && this.names?.length;
      this.by = by;
      this.root = planner.peakTree(blocks, by);
      this.path = [this.root];
      for (const name of same ? this.names : []) {
        const next = this.path.at(-1).index?.get(name);
        if (!next) break;
        this.path.push(next);
      }
      this.draw();
    }

    #layout(node, width, height) {
      const parts = (one, depth) => {
        if (depth === 0 || !one.index) return undefined;
        return kids(one).map((part) => {
          const { name, inner, size } = folded(part, this.root);
          const inside = size > this.root.size * SMALLEST ? parts(inner, depth - 1) : undefined;
          return { name, node: part, inner, size, children: inside };
        });
      };
      const data = { name: node.name, node, inner: node, size: node.size, children: parts(node, 2) };
      const tree = d3.hierarchy(data).sum((one) => (one.children ? 0 : one.size));
      return d3.treemap().size([width, height]).paddingTop((one) => (one.depth === 1 && one.children ? 20 : 0))
        .paddingInner(2).round(true)(tree);
    }

    draw() {
      const node = this.path.at(-1);
      const width = Math.floor(this.holder.clientWidth);
      const height = width < 500 ? 340 : 380;
      this.holder.style.height = `${height}px`;
      const tree = this.#layout(folded(node, this.root).inner, width, height);
      const cells = [];
      for (const leaf of tree.leaves()) {
        if (leaf.depth > 0) cells.push(this.#cell(leaf, width));
      }
      for (const group of tree.children ?? []) {
        if (group.children) cells.push(this.#group(group, width));
      }
      this.holder.replaceChildren(...cells);
      this.#crumbs();
      this.#rows(tree.children ?? []);
    }

    // Across in shares, so that it fits on paper, whose width no script knows.
    #place(element, box, width) {
      Object.assign(element.style, {
        left: `${(100 * box.x0) / width}%`, top: `${box.y0}px`,
        width: `${(100 * Math.max(0, box.x1 - box.x0)) / width}%`, height: `${Math.max(0, box.y1 - box.y0)}px`,
      });
    }

    #words(box) {
      const { name, size } = box.data;
      return `${name}: ${planner.bytes(size)}, ${planner.percent(size / this.root.size)} of the peak`;
    }

    #cell(box, width) {
      const category = colourOf(box.data.inner);
      const made = planner.make("div", { class: "cell", title: this.#words(box) });
      made.style.background = planner.colour(category);
      made.style.color = planner.ink(category);
      this.#place(made, box, width);
      const wide = box.x1 - box.x0;
      const high = box.y1 - box.y0;
      if (wide > 44 && high > 20) made.append(planner.make("span", { text: box.data.name }));
      if (wide > 60 && high > 38) made.append(planner.make("small", { text: planner.bytes(box.data.size) }));
      return made;
    }

    #group(box, width) {
      const made = planner.make("button", { class: "group", type: "button", title: `${this.#words(box)}; open` });
      this.#place(made, box, width);
      const label = planner.make("span", {});
      label.append(planner.make("b", { text: box.data.name }), ` ${planner.bytes(box.data.size)}`);
      if (box.x1 - box.x0 > 50 && box.y1 - box.y0 > 36) made.append(label);
      else made.setAttribute("aria-label", this.#words(box));
      made.addEventListener("click", () => {
        this.path.push(box.data.inner);
        this.draw();
        this.trail.querySelector("[aria-current]")?.focus();
      });
      return made;
    }

    #crumbs() {
      this.names = this.path.slice(1).map((node) => node.name);
      const crumbs = this.path.map((node, depth) => {
        const here = depth === this.path.length - 1;
        const text = `${node.name} ${planner.bytes(node.size)}`;
        const made = planner.make("button", { type: "button", class: "crumb", text, "aria-current": here ? "true" : null });
        made.addEventListener("click", () => {
          this.path = this.path.slice(0, depth + 1);
          this.draw();
        });
        return planner.make("li", {}, made);
      });
      this.trail.replaceChildren(...crumbs);
    }

    #rows(groups) {
      const rows = groups.map((group) =>
        planner.make("tr", {},
          planner.make("th", { scope: "row", text: group.data.name }),
          planner.make("td", { class: "number", text: planner.bytes(group.data.size), title: planner.exact(group.data.size) }),
          planner.make("td", { class: "number", text: planner.percent(group.data.size / this.root.size) })),
      );
      this.table.replaceChildren(...rows);
    }
  }

  planner.Treemap = Treemap;
})();
