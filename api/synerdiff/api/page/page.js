// The page: enqueue a prompt, follow it by server-sent events, look at the fleet.
const find = (id) => document.getElementById(id);
const POLL_MS = 2000;
const FINAL = new Set(["succeeded", "failed", "cancelled", "expired", "dead"]);
const BAD = new Set(["failed", "expired", "dead"]);

find("key").value = sessionStorage.getItem("key") ?? "";
find("key").addEventListener("change", () => {
  sessionStorage.setItem("key", find("key").value);
  listModels();
});

async function call(path, options = {}) {
  const key = find("key").value;
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  const reply = await fetch(path, { ...options, headers });
  if (reply.ok) return reply;
  if (reply.status === 401) find("access").hidden = false, (find("access").open = true);
  const { error } = await reply.json();
  throw new Error(error.errors.length > 1 ? error.errors.map((one) => one.message).join("; ") : error.message);
}

async function listModels() {
  const select = find("form").elements.model;
  try {
    const { data } = await (await call("/v1/models")).json();
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

find("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  find("problem").textContent = "";
  const fields = fieldsOf(event.target);
  try {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` };
    const job = await (await call("/v1/jobs", { method: "POST", headers, body: JSON.stringify(fields) })).json();
    follow(job, show(job, fields));
  } catch (error) {
    find("problem").textContent = error.message;
  }
});

function show(job, fields) {
  const item = find("job").content.firstElementChild.cloneNode(true);
  item.querySelector(".text").textContent = fields.prompt;
  item.querySelector(".id").textContent = job.id;
  item.querySelector(".cancel").addEventListener("click", () => cancel(job, item));
  find("none").hidden = true;
  find("jobs").prepend(item);
  setState(item, job.state);
  return item;
}

function setState(item, state) {
  item.querySelector(".state").textContent = state;
  if (!FINAL.has(state)) return;
  item.querySelector(".cancel").hidden = true;
  item.querySelector("progress").hidden = true;
}

async function cancel(job, item) {
  try {
    setState(item, (await (await call(`/v1/jobs/${job.id}`, { method: "DELETE" })).json()).state);
  } catch (error) {
    find("problem").textContent = error.message;
  }
}

// fetch instead of EventSource, which cannot send a key. A stream that breaks goes on after the last event seen.
async function follow(job, item) {
  let last = "";
  let ended = false;
  while (!ended) {
    try {
      const reply = await call(job.events_url, { headers: last ? { "Last-Event-ID": last } : {} });
      for await (const event of events(reply.body)) {
        last = event.id;
        draw(item, event);
        ended ||= FINAL.has(event.kind);
      }
      ended ||= await finish(job, item);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
  await finish(job, item).catch((error) => (find("problem").textContent = error.message));
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value.replaceAll("\r", "");
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const line = part.split("\n").find((one) => one.startsWith("data:"));
      if (line) {
        const id = part.split("\n").find((one) => one.startsWith("id:"))?.slice(3).trim() ?? "";
        yield { ...JSON.parse(line.slice(5)), id };
      }
    }
  }
}

function draw(item, event) {
  const state = { step: "running", started: "running", image: "running", requeued: "queued" }[event.kind] ?? event.kind;
  setState(item, event.kind === "step" ? `step ${event.step} of ${event.steps}` : state);
  if (event.steps) item.querySelector("progress").value = event.step / event.steps;
}

async function finish(job, item) {
  const view = await (await call(`/v1/jobs/${job.id}`)).json();
  setState(item, view.state);
  if (!FINAL.has(view.state)) return false;
  const prompt = view.job.prompt;
  item.querySelector(".images").replaceChildren(...view.images.map((image) => picture(image, prompt)));
  item.querySelector(".facts").textContent = BAD.has(view.state) ? view.error?.message ?? "" : facts(view);
  return true;
}

function picture(image, prompt) {
  const element = new Image(image.width, image.height);
  element.src = image.url;
  element.alt = `${prompt}, seed ${image.seed}`;
  const link = document.createElement("a");
  link.href = image.url;
  link.append(element);
  return link;
}

function facts({ timings, receipt, worker }) {
  if (!timings || !receipt) return "";
  const rows = `${receipt.rows_run} rows run, ${receipt.rows_skipped} skipped`;
  return `${timings.total.toFixed(2)} s, ${rows}, ${receipt.rows_per_call.toFixed(1)} a call, ${worker ?? receipt.worker}`;
}

function pool({ pool: name, load, workers, plans }) {
  const card = document.createElement("div");
  const facts = document.createElement("dl");
  const rows = {
    Pool: name,
    Queued: load.queued,
    Running: `${load.running} of ${load.capacity}`,
    "Oldest waiting": `${load.oldest_age_s.toFixed(1)} s`,
  };
  for (const report of workers) {
    rows[report.name] = `${report.state}, ${report.running} of ${report.capacity} jobs, ${report.device || "no device"}`;
  }
  if (!workers.length) rows.Workers = "none: jobs wait until one comes";
  for (const [profile, plan] of Object.entries(plans)) {
    rows[`Plan for ${profile}`] = Object.entries(plan).map(([key, value]) => `${key} ${String(value).slice(0, 24)}`).join(", ");
  }
  for (const [key, value] of Object.entries(rows)) {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = key;
    text.textContent = value;
    facts.append(term, text);
  }
  card.append(facts);
  return card;
}

async function watch() {
  try {
    const { pools } = await (await call("/v1/status")).json();
    if (pools.length) find("pools").replaceChildren(...pools.map(pool));
    find("link").textContent = pools.length ? "connected" : "connected, no workers yet";
    if (!find("form").elements.model.options.length) await listModels();
  } catch (error) {
    find("link").textContent = error.message;
  }
  setTimeout(watch, POLL_MS);
}

listModels();
watch();
