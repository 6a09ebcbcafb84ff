// Reads the timelines of the page: columns of deflated 32-bit integers. Out: levels after each
// request, to the byte.
"use strict";
(() => {
  const NAMES = ["owners", "changes", "reserved", "categories", "origins"];
  const columns = new Map(); // key: promise of an Int32Array

  async function unpack(text) {
    const packed = atob(text);
    const bytes = new Uint8Array(packed.length);
    for (let at = 0; at < packed.length; at += 1) bytes[at] = packed.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Int32Array(await new Response(stream).arrayBuffer());
  }

  function column(blobs, key) {
    if (!columns.has(key)) columns.set(key, unpack(blobs[key]));
    return columns.get(key);
  }

  // The owner of each request, or -1; where the block of each allocation ends (n: it stays).
  function lives(steps, changes) {
    const count = steps.length;
    const owners = new Int32Array(count);
    const ends = new Int32Array(count).fill(count);
    for (let at = 0; at < count; at += 1) owners[at] = at - steps[at];
    for (let at = 0; at < count; at += 1) {
      const owner = owners[at];
      if (owner >= 0 && owner !== at && changes[at] < 0) ends[owner] = Math.min(ends[owner], at);
    }
    return { owners, ends };
  }

  function ownChanges(rests, steps, unit) {
    const changes = new Float64Array(rests.length);
    for (let at = 0; at < rests.length; at += 1) {
      const owner = at - steps[at];
      const own = owner === at || owner < 0;
      changes[at] = rests[at] * unit - (own ? 0 : changes[owner]);
    }
    return changes;
  }

  function levelsOf(changes) {
    const levels = new Float64Array(changes.length);
    let level = 0;
    for (let at = 0; at < changes.length; at += 1) levels[at] = level += changes[at];
    return levels;
  }

  function byCategory(changes, owners, numbers, names) {
    const found = names.map(() => null);
    for (let at = 0; at < changes.length; at += 1) {
      if (changes[at] === 0) continue;
      const number = numbers[owners[at] < 0 ? at : owners[at]];
      found[number] ??= new Float64Array(changes.length);
      found[number][at] = changes[at];
    }
    return names
      .map((name, number) => ({ name, levels: found[number] && levelsOf(found[number]) }))
      .filter((one) => one.levels);
  }

  // Unpacks the columns of one batch, in the order of NAMES; they are kept.
  planner.unpacked = (blobs, found) => Promise.all(NAMES.map((name) => column(blobs, found[name])));

  // Returns the timeline of one batch, with all that the charts need.
  planner.timeline = async (result, blobs, found) => {
    const [steps, rests, reserved, categories, origins] = await planner.unpacked(blobs, found);
    const changes = ownChanges(rests, steps, found.unit_bytes);
    const { owners, ends } = lives(steps, changes);
    const allocated = levelsOf(changes);
    let peakAt = 0;
    for (let at = 1; at < allocated.length; at += 1) {
      if (allocated[at] > allocated[peakAt]) peakAt = at;
    }
    const held = found.has_reserved
      ? levelsOf(Float64Array.from(reserved, (step) => step * found.unit_bytes))
      : null;
    return {
      count: changes.length,
      changes, owners, ends, allocated, peakAt, origins,
      reserved: held,
      parts: byCategory(changes, owners, categories, result.categories),
      category: (at) => result.categories[categories[at]],
      origin: (at) => ({
        module: result.origins.module[origins[at]],
        tensor: result.origins.tensor[origins[at]],
        operator: result.origins.operator[origins[at]],
        source: result.origins.source[origins[at]],
      }),
      phases: found.phases.map(([step, phase, begin, end]) => ({ step, phase, begin, end })),
    };
  };

  // Returns the allocations whose blocks are alive after a request, oldest first.
  planner.liveAt = (timeline, index) => {
    const alive = [];
    for (let at = 0; at <= index; at += 1) {
      if (timeline.owners[at] === at && timeline.ends[at] > index) alive.push(at);
    }
    return alive;
  };

  // Returns the largest of them; among equals the oldest comes first.
  planner.largestAt = (timeline, index, number) =>
    planner
      .liveAt(timeline, index)
      .sort((one, two) => timeline.changes[two] - timeline.changes[one] || one - two)
      .slice(0, number);

  planner.phaseAt = (timeline, index) =>
    timeline.phases.find((span) => index >= span.begin && index < span.end);

  // A tensor is named from its module on: layer.0 and weight are layer.0.weight.
  planner.named = (origin) =>
    [origin.module, origin.tensor].filter(Boolean).join(".") || "outside of any submodule";

  planner.place = (origin) =>
    [planner.named(origin), origin.operator, origin.source]
      .filter(Boolean)
      .join(" · ");
})();
