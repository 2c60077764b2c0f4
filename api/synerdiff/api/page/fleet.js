// Figures of a pool, its workers and its plans.
const MINUTE_S = 60;

function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export function seconds(value) {
  if (value === undefined || Number.isNaN(value)) return "–";
  return value < 10 ? `${value.toFixed(2)} s` : `${value.toFixed(0)} s`;
}

// Images a minute over the last minute, or since the oldest job listed where all are younger.
function throughput(finished) {
  const ages = finished.map((view) => Date.now() / 1000 - view.finished_at);
  const span = Math.min(MINUTE_S, Math.max(1, ...ages));
  const lately = finished.filter((_, index) => ages[index] <= span);
  return (lately.reduce((sum, view) => sum + view.images.length, 0) * MINUTE_S) / span;
}

function skipShare(workers) {
  let [run, skipped] = [0, 0];
  for (const { slots } of workers) {
    for (const slot of slots ?? []) (run += slot[4]), (skipped += slot[6]);
  }
  return run ? `${((100 * skipped) / (run + skipped)).toFixed(0)} %` : "–";
}

function theta(pool) {
  const found = Object.values(pool.plans).map((plan) => plan.theta).filter(Boolean);
  if (!found.length) return "–";
  return found[0] === "auto" ? "auto" : Number(found[0]).toFixed(3);
}

export function showFigures(list, pool, finished) {
  if (!pool) return;
  const { load, workers } = pool;
  const totals = finished.filter(({ timings }) => timings).map(({ timings }) => timings.total).sort((a, b) => a - b);
  const decoding = workers.reduce((sum, { slot }) => sum + (Number(slot?.waiting) || 0), 0);
  const active = workers.reduce((sum, { slot }) => sum + (Number(slot?.active) || 0), 0);
  const figures = [
    ["Queued jobs", load.queued, load.paused ? "paused" : ""],
    ["Running jobs", load.running, `of ${load.capacity}`],
    ["Oldest open", seconds(load.oldest_age_s)],
    ["UNet batch", load.running ? active : 0, "images"],
    ["VAE queue", load.running ? decoding : 0, "images"],
    ["Theta", theta(pool)],
    ["Rows skipped", skipShare(workers)],
    ["Images / min", throughput(finished).toFixed(0)],
    ["E2E P50", seconds(percentile(totals, 0.5))],
    ["E2E P90", seconds(percentile(totals, 0.9))],
    ["E2E P99", seconds(percentile(totals, 0.99)), totals.length ? `of ${totals.length}` : ""],
    ["Failed, dead", (load.totals.failed ?? 0) + (load.totals.dead ?? 0)],
  ];
  list.replaceChildren(...figures.map(tile));
}

function tile([name, value, more = ""]) {
  const box = document.createElement("div");
  const term = Object.assign(document.createElement("dt"), { textContent: name });
  const text = Object.assign(document.createElement("dd"), { textContent: `${value} ` });
  text.append(Object.assign(document.createElement("small"), { textContent: more }));
  box.append(term, text);
  return box;
}

export function showWorkers(box, pool) {
  if (!pool || !box.closest("details").open) return;
  const head = ["Worker", "State", "Jobs", "Device", "Plan", "Theta", "Plan age"];
  const rows = pool.workers.map((worker) => [
    worker.name,
    worker.state,
    `${worker.running} of ${worker.capacity}`,
    worker.device || "–",
    `${worker.plan_version} (${worker.plan_source ?? "–"})`,
    worker.plan_theta || "–",
    seconds(worker.plan_age_s),
  ]);
  const plans = Object.entries(pool.plans).map(([profile, plan]) => [
    profile,
    `version ${plan.version}`,
    `batch cap ${plan.batch_cap}, balanced skips above ${plan.skip_above} jobs`,
  ]);
  box.replaceChildren(table(head, rows), table(["Profile", "Plan", "Limits"], plans));
}

function table(head, rows) {
  const element = document.createElement("table");
  const line = element.createTHead().insertRow();
  for (const name of head) line.append(Object.assign(document.createElement("th"), { textContent: name, scope: "col" }));
  const body = element.createTBody();
  for (const row of rows) {
    const cells = body.insertRow();
    for (const text of row) cells.insertCell().textContent = text;
  }
  return element;
}
