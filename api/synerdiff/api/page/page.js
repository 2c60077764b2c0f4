// The page: enqueue a prompt, watch the batch, browse results. Everything shown is text or a checked address.
import { call, events, onUnauthorized } from "/api.js";
import { Batch } from "/batch.js";
import { showFigures, showWorkers } from "/fleet.js";
import { Results } from "/results.js";
import { Timeline } from "/timeline.js";

const find = (id) => document.getElementById(id);
const STATUS_MS = 1000;
const LIST_MS = 2000;
const FOLLOWED = 3; // a browser opens six connections to a host; polling needs some

const timeline = new Timeline(find("slots"), find("slots-told"));
const batch = new Batch(find("batch"), find("batch-none"), cancel);
const results = new Results(find("results"), find("results-none"), find("viewer"), fillForm);
const own = new Set();
const following = new Set();
const told = new Map(); // the last event of each job whose stream broke
let finished = [];

onUnauthorized(() => ((find("access").hidden = false), (find("access").open = true)));
find("key").value = sessionStorage.getItem("key") ?? "";
find("key").addEventListener("change", () => {
  sessionStorage.setItem("key", find("key").value);
  find("problem").textContent = "";
  listModels();
});

async function listModels() {
  const select = find("form").elements.model;
  try {
    const { data } = await call("/v1/models");
    const chosen = select.value;
    select.replaceChildren(...data.map((model) => new Option(model.id)));
    if (data.some((model) => model.id === chosen)) select.value = chosen;
  } catch (error) {
    find("problem").textContent = error.message;
  }
}

function fieldsOf(form) {
  const fields = {};
  for (const { name, value, type } of form.elements) {
    if (name && value !== "") fields[name] = type === "number" ? Number(value) : value;
  }
  return fields;
}

function fillForm(job) {
  for (const element of find("form").elements) {
    if (element.name in job) element.value = job[element.name];
  }
  find("more").open = true; // some of what was filled in is there
  find("prompt").focus();
}

find("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  find("problem").textContent = "";
  try {
    const fields = fieldsOf(event.target);
    const headers = { "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` };
    const job = await call("/v1/jobs", { method: "POST", headers, body: JSON.stringify(fields) });
    own.add(job.id);
    batch.show({ id: job.id, state: job.state, step: 0, job: fields });
    follow(job.id);
  } catch (error) {
    find("problem").textContent = error.message;
  }
});

async function cancel(id) {
  try {
    batch.remove((await call(`/v1/jobs/${id}`, { method: "DELETE" })).id);
    list();
  } catch (error) {
    find("problem").textContent = error.message;
  }
}

// A stream that breaks goes on after the last event seen; the lists tell what streams miss.
async function follow(id) {
  if (following.has(id) || following.size >= FOLLOWED) return;
  following.add(id);
  try {
    for await (const event of events(`/v1/jobs/${id}/events?previews=true`, told.get(id))) {
      if (event.id) told.set(id, event.id);
      batch.take(id, event);
    }
    told.delete(id);
  } catch {
    // the next list tells
  }
  following.delete(id);
  list();
}

async function list() {
  const [running, newest] = await Promise.all([
    call("/v1/jobs?state=running&limit=24"),
    call("/v1/jobs?limit=48"),
  ]);
  const mine = newest.data.filter((view) => view.state === "queued" && own.has(view.id));
  batch.keep([...running.data, ...mine]);
  finished = newest.data.filter((view) => view.finished_at);
  results.show(finished);
  for (const view of newest.data.filter(({ id, finished_at }) => finished_at && own.delete(id))) {
    find("news").textContent = `${view.job.prompt}: ${view.state}`;
  }
  const worth = ({ id, step }) => 2 * own.has(id) + (step > 0);
  for (const view of [...running.data].sort((a, b) => worth(b) - worth(a))) follow(view.id);
}

function choosePool(pools) {
  const select = find("pool");
  if (pools.length !== select.options.length) {
    const chosen = select.value;
    select.replaceChildren(...pools.map(({ pool }) => new Option(pool)));
    if (pools.some(({ pool }) => pool === chosen)) select.value = chosen;
  }
  find("pool-choice").hidden = pools.length < 2;
  return pools.find(({ pool }) => pool === select.value);
}

async function status() {
  const { pools } = await call("/v1/status");
  const pool = choosePool(pools);
  const workers = pool?.workers ?? [];
  showFigures(find("figures"), pool, finished);
  showWorkers(find("workers-table"), pool);
  timeline.take(workers);
  find("link").textContent = workers.length ? "connected" : "connected, no workers yet";
  if (!find("form").elements.model.options.length) await listModels();
}

async function every(ms, action) {
  try {
    if (!document.hidden) await action();
  } catch (error) {
    find("link").textContent = error.message;
  }
  setTimeout(every, ms, ms, action);
}

listModels();
every(STATUS_MS, status);
every(LIST_MS, list);
