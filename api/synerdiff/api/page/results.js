// Finished jobs as pictures, each of which opens its receipt.
import { seconds } from "/fleet.js";

const BAD = new Set(["failed", "expired", "dead", "cancelled"]);
const PHASES = ["queued", "encode", "denoise", "decode_wait", "decode", "upload", "total"];

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export class Results {
  constructor(list, none, viewer, use) {
    Object.assign(this, { list, none, viewer, use, items: new Map(), newest: new Map() });
  }

  // Newest first; what is there already stays, so that pictures are not loaded again. Addresses of pictures expire:
  // one that could not be loaded takes its newest.
  show(views) {
    this.newest = new Map(views.map((view) => [view.id, view]));
    const kept = new Set(views.map(({ id }) => id));
    for (const [id, item] of this.items) if (!kept.has(id)) item.remove(), this.items.delete(id);
    views.forEach((view, index) => {
      const item = this.items.get(view.id) ?? this.#add(view);
      const picture = item.querySelector("img");
      if (picture?.complete && !picture.naturalWidth) picture.src = view.images[0].url;
      if (this.list.children[index] !== item) this.list.insertBefore(item, this.list.children[index] ?? null);
    });
    this.none.hidden = views.length > 0;
  }

  #add(view) {
    const picture = make("span", { className: "picture" });
    if (view.images.length) picture.append(image(view, view.images[0], ""));
    else picture.append(view.state);
    if (view.images.length > 1) picture.append(make("span", { className: "count", textContent: `× ${view.images.length}` }));
    const text = make("span", { className: "text", textContent: view.job.prompt });
    const note = make("span", { className: "quiet", textContent: note_of(view) });
    const button = make("button", { type: "button" }, picture, text, note);
    button.addEventListener("click", () => this.#open(this.newest.get(view.id) ?? view));
    const item = make("li", {}, button);
    this.items.set(view.id, item);
    return item;
  }

  #open(view) {
    document.getElementById("viewer-title").textContent = view.job.prompt;
    const pictures = make("div", { className: "pictures" });
    for (const [index, one] of view.images.entries()) {
      const link = make("a", { href: one.url, target: "_blank", rel: "noreferrer" }, image(view, one, `${view.job.prompt}, seed ${one.seed}`));
      link.addEventListener("click", () => (link.href = (this.newest.get(view.id) ?? view).images[index].url));
      pictures.append(link);
    }
    const again = make("button", { type: "button", className: "plain", textContent: "Use its settings" });
    again.addEventListener("click", () => (this.viewer.close(), this.use(view.job)));
    const json = JSON.stringify({ ...view, images: view.images.map(({ url, ...rest }) => rest) }, null, 2);
    const record = make("details", {}, make("summary", { textContent: "Whole record as JSON" }), make("pre", { textContent: json, tabIndex: 0 }));
    document.getElementById("viewer-body").replaceChildren(pictures, receipt(view), again, record);
    this.viewer.showModal();
  }
}

function note_of(view) {
  if (!view.timings || !view.receipt) return view.state;
  const { rows_run, rows_skipped } = view.receipt;
  return `${seconds(view.timings.total)}, ${Math.round((100 * rows_skipped) / Math.max(1, rows_run + rows_skipped))} % skipped`;
}

function image(view, { url, width, height }, alt) {
  return make("img", { src: url, alt, width, height, loading: "lazy" });
}

function receipt(view) {
  const { job, receipt: made, timings, error } = view;
  const rows = [
    ["Job", view.id],
    ["State", BAD.has(view.state) && error ? `${view.state}: ${error.message}` : view.state],
    ["Model", made?.model_hash ? `${job.model} (${made.model_hash.slice(0, 12)})` : job.model],
    ["Settings", `${job.width}×${job.height}, ${job.steps} steps of ${job.sampler}, guidance ${job.guidance_scale}, ${job.quality}, priority ${job.priority}`],
    ["Seeds", view.images.map(({ seed }) => seed).join(", ") || job.seed],
  ];
  if (made) {
    rows.push(
      ["UNet rows", `${made.rows_run} run, ${made.rows_skipped} skipped, ${made.rows_per_call.toFixed(1)} a call`],
      ["VAE", `${made.chunks} chunks`],
      ["Made by", `${made.worker}, plan ${made.plan_version}`],
    );
  }
  if (timings) rows.push(["Times", PHASES.map((name) => `${name.replace("_", " ")} ${seconds(timings[name])}`).join(" · ")]);
  const list = make("dl", { className: "receipt" });
  for (const [name, text] of rows) list.append(make("dt", { textContent: name }), make("dd", { textContent: text }));
  for (const [index, skipped] of (made?.skipped_steps ?? []).entries()) {
    list.append(make("dt", { textContent: `Steps, image ${index + 1}` }), make("dd", {}, steps(job.steps, new Set(skipped))));
  }
  return list;
}

// A mark for each step: filled where the unconditional pass ran, hollow where it was skipped.
function steps(count, skipped) {
  const strip = make("div", { className: "steps" });
  strip.setAttribute("role", "img");
  strip.setAttribute("aria-label", `${skipped.size} of ${count} steps skipped the unconditional pass`);
  for (let step = 0; step < count; step += 1) strip.append(make("span", { className: skipped.has(step) ? "skipped" : "" }));
  return strip;
}
