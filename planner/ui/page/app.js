// The page of `planner ui`. Texts from outside become text nodes alone, never HTML.
"use strict";

const key = document.querySelector('meta[name="planner-key"]').content;
const byId = (id) => document.getElementById(id);
const jobs = new Map(); // id -> {job, item}
let picked = []; // ids to compare, oldest first
let shownAt = ""; // address of the result in view
let shownIds = [];

if (location.search) history.replaceState(null, "", "/"); // no token in the history

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Planner-Key": key },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; was it ended?");
  }
  const text = await answer.text();
  let found = {};
  try {
    found = JSON.parse(text);
  } catch {
    found = { error: text.trim() };
  }
  if (!answer.ok) throw new Error(found.error || `refused (${answer.status})`);
  return found;
}

function say(text) {
  byId("said").textContent = text;
}

function fail(error) {
  const place = byId("form-error");
  place.textContent = error ? error.message : "";
  place.hidden = !error;
}

// ---- the form

function option(value, label) {
  const made = document.createElement("option");
  made.value = value;
  if (label) made.label = label;
  return made;
}

let files = new Set();

async function fillLists() {
  const lists = await ask("/api/lists");
  files = new Set(lists.files);
  byId("targets").replaceChildren(
    ...lists.files.map((name) => option(name)), ...lists.catalog.map((name) => option(name)));
  byId("cards").replaceChildren(...lists.cards.map((card) => option(card.id, card.name)));
}

let namesOf = "";

async function fillNames() {
  const file = byId("target").value.trim();
  if (file === namesOf) return;
  namesOf = file;
  const select = byId("name");
  select.replaceChildren();
  byId("name-field").hidden = true;
  if (!files.has(file)) return;
  const { names } = await ask(`/api/names?file=${encodeURIComponent(file)}`);
  if (namesOf !== file || !names.length) return;
  const first = option("");
  first.textContent = "found by itself";
  select.replaceChildren(first, ...names.map((name) => {
    const made = option(name);
    made.textContent = name;
    return made;
  }));
  byId("name-field").hidden = false;
}

function controls() {
  return [...byId("form").querySelectorAll("[data-name]")];
}

function valueOf(control) {
  if (control.dataset.kind === "switch") return control.checked ? true : null;
  if (control.multiple) {
    const values = [...control.selectedOptions].map((one) => one.value);
    return values.length ? values : null;
  }
  const text = control.value.trim();
  if (!text) return null;
  if (control.dataset.kind === "list") return text.split("\n").map((one) => one.trim()).filter(Boolean);
  return text;
}

async function submit(event) {
  event.preventDefault();
  fail(null);
  const target = byId("target").value.trim();
  const name = byId("name-field").hidden ? "" : byId("name").value;
  const options = {};
  for (const control of controls()) {
    const value = valueOf(control);
    if (value !== null) options[control.dataset.name] = value;
  }
  try {
    if (!target) throw new Error("choose a model file, or a model of the catalog");
    for (const control of controls())
      if (!control.validity.valid) throw new Error(`${control.dataset.name}: ${control.validationMessage}`);
    const { job } = await ask("/api/jobs", { target: name ? `${target}:${name}` : target, options });
    keep(job);
    say(`${job.target}: ${job.state}`);
    const first = byId("jobs-title");
    if (first.getBoundingClientRect().top > innerHeight) first.scrollIntoView(); // on a phone
  } catch (error) {
    fail(error);
  }
}

async function useAgain(job) {
  byId("form").reset();
  const cut = files.has(job.target) || job.target.includes(".py:") === false ? -1 : job.target.lastIndexOf(":");
  byId("target").value = cut < 0 ? job.target : job.target.slice(0, cut);
  await fillNames();
  if (cut >= 0) byId("name").value = job.target.slice(cut + 1);
  for (const control of controls()) {
    const flag = control.dataset.name;
    const values = job.options.filter((word) => word === flag || word.startsWith(`${flag}=`))
      .map((word) => word.slice(flag.length + 1));
    if (!values.length) continue;
    if (control.dataset.kind === "switch") control.checked = true;
    else if (control.multiple) for (const one of control.options) one.selected = values.includes(one.value);
    else control.value = values.join("\n");
    const group = control.closest("details");
    if (group) group.open = true;
  }
  byId("target").focus();
}

// ---- the jobs

const WORDS = {
  waiting: ["waiting", "wait"], running: ["running", "wait"], failed: ["failed", "bad"],
  cancelled: ["cancelled", "wait"],
};

function stateWords(job) {
  if (job.state !== "done") return WORDS[job.state];
  return job.fits ? ["fits", "good"] : ["does not fit", "bad"];
}

function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function make(job) {
  const item = byId("job").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(name);
  const act = (what) => async () => {
    try {
      await ask(`/api/jobs/${job.id}/${what}`, {});
    } catch (error) {
      fail(error);
    }
  };
  part("h3").textContent = job.target;
  const command = ["planner", "estimate", job.target, ...job.options].map((word) => {
    const made = document.createElement("span"); // lines break between words, not at a hyphen
    made.textContent = quoted(word);
    return made;
  });
  part(".command code").replaceChildren(...command.flatMap((word) => [word, " "]));
  part(".cancel").addEventListener("click", act("cancel"));
  part(".remove").addEventListener("click", act("remove"));
  part(".show").addEventListener("click", () => show([job.id]));
  part(".again").addEventListener("click", () => useAgain(job));
  part(".file").href = `/results/${job.id}/file`;
  part(".pick input").addEventListener("change", (event) => pick(job.id, event.target));
  for (const one of item.querySelectorAll("button, .file, .pick input")) {
    const words = one.closest(".pick") ? "compare" : one.textContent;
    one.setAttribute("aria-label", `${words}: ${job.target}`);
  }
  return item;
}

function keep(job) {
  let kept = jobs.get(job.id);
  const before = kept && kept.job.state;
  if (!kept) {
    kept = { job, item: make(job) };
    jobs.set(job.id, kept);
    byId("jobs").prepend(kept.item);
  }
  kept.job = job;
  draw(kept);
  if (before && before !== job.state) {
    const [words] = stateWords(job);
    say(`${job.target}: ${words}. ${job.verdict.join(". ")}${job.error}`);
    if (job.state === "done" && before === "running" && !shownIds.length) show([job.id], false);
  }
  byId("nothing").hidden = jobs.size > 0;
}

function draw({ job, item }) {
  const part = (name) => item.querySelector(name);
  const [words, look] = stateWords(job);
  const state = part(".state");
  state.className = `state ${look}`;
  state.textContent = job.took_s === null || job.state === "cancelled" ? words : `${words}, in ${job.took_s.toFixed(1)} s`;
  part("progress").hidden = job.state !== "running";
  part(".verdict").replaceChildren(...job.verdict.map((line) => {
    const made = document.createElement("li");
    made.textContent = line;
    return made;
  }));
  part(".verdict").hidden = !job.verdict.length;
  part("pre.error").textContent = job.error;
  part("pre.error").hidden = !job.error;
  drawLines({ job, item });
  const isOver = !["waiting", "running"].includes(job.state);
  const isDone = job.state === "done";
  part(".cancel").hidden = isOver;
  part(".remove").hidden = part(".again").hidden = !isOver;
  part(".show").hidden = part(".file").hidden = part(".pick").hidden = !isDone;
}

function drawLines({ job, item }) {
  const log = item.querySelector(".log");
  log.hidden = !job.lines.length;
  const last = job.state === "running" && job.lines.length ? job.lines[job.lines.length - 1] : "Lines of progress";
  log.querySelector("summary").textContent = last;
  const page = log.querySelector("pre");
  page.textContent = job.lines.join("\n");
  page.scrollTop = page.scrollHeight;
}

function forget(id) {
  const kept = jobs.get(id);
  if (!kept) return;
  kept.item.remove();
  jobs.delete(id);
  picked = picked.filter((one) => one !== id);
  drawPicked();
  if (shownIds.includes(id)) closeView();
  byId("nothing").hidden = jobs.size > 0;
}

function pick(id, box) {
  picked = picked.filter((one) => one !== id);
  if (box.checked) picked.push(id);
  if (picked.length > 2) picked.shift();
  drawPicked();
}

function drawPicked() {
  for (const [id, { item }] of jobs) item.querySelector(".pick input").checked = picked.includes(id);
  byId("compare").disabled = picked.length !== 2;
}

function show(ids, moves = true) {
  shownIds = ids;
  shownAt = ids.length === 1 ? `/results/${ids[0]}` : `/results/${ids[0]}/with/${ids[1]}`;
  byId("view").hidden = false;
  byId("view-title").textContent = ids.map((id) => jobs.get(id).job.target).join(" and ");
  byId("alone").href = shownAt;
  byId("frame").src = shownAt;
  for (const [id, { item }] of jobs) item.classList.toggle("shown", ids.includes(id));
  if (moves) {
    byId("view-title").focus({ preventScroll: true });
    byId("view").scrollIntoView();
  }
}

function closeView() {
  shownIds = [];
  byId("view").hidden = true;
  byId("frame").removeAttribute("src");
  for (const { item } of jobs.values()) item.classList.remove("shown");
}

// ---- news of the server

function listen() {
  const source = new EventSource("/api/events");
  const place = byId("connection");
  const on = (kind, act) => source.addEventListener(kind, (event) => act(JSON.parse(event.data)));
  source.addEventListener("open", () => { place.hidden = true; });
  source.addEventListener("error", () => {
    place.hidden = false;
    place.textContent = "The server does not answer; was it ended?";
  });
  on("all", (message) => {
    const there = new Set(message.jobs.map((job) => job.id));
    for (const id of [...jobs.keys()]) if (!there.has(id)) forget(id);
    message.jobs.forEach(keep);
  });
  on("job", (message) => keep(message.job));
  on("line", (message) => {
    const kept = jobs.get(message.id);
    if (!kept) return;
    kept.job.lines = [...kept.job.lines, message.text].slice(-100);
    drawLines(kept);
  });
  on("removed", (message) => forget(message.id));
  on("closed", () => {
    source.close();
    place.hidden = false;
    place.textContent = "The server was ended.";
  });
}

byId("form").addEventListener("submit", submit);
byId("form").addEventListener("reset", () => {
  fail(null);
  byId("name-field").hidden = true;
  namesOf = "";
});
byId("target").addEventListener("change", () => fillNames().catch(fail));
byId("compare").addEventListener("click", () => show(picked));
byId("close").addEventListener("click", () => {
  closeView();
  byId("jobs-title").scrollIntoView();
});
fillLists().then(fillNames).catch(fail);
listen();
