// Slots as a timeline: for each worker a lane of UNet calls, as high as they have rows, and a lane of VAE chunks.
const SVG = "http://www.w3.org/2000/svg";
const SPAN_S = 20;
const [WIDTH, LANE, GAP, LABEL] = [600, 26, 6, 12];
const WORKERS = 6;

function make(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export class Timeline {
  constructor(box, told) {
    Object.assign(this, { box, told, slots: new Map(), lag: Infinity });
  }

  // Take what workers report; a slot is known by its worker and its end.
  take(workers) {
    const now = Date.now() / 1000;
    for (const { name, slots } of workers) {
      const known = this.slots.get(name) ?? this.slots.set(name, new Map()).get(name);
      for (const slot of slots ?? []) {
        known.set(slot[0], slot);
        this.lag = Math.min(this.lag, now - slot[0]); // the clocks of two machines differ
      }
    }
    const end = now - (Number.isFinite(this.lag) ? this.lag : 0);
    for (const [name, known] of this.slots) {
      for (const at of known.keys()) if (at < end - SPAN_S) known.delete(at);
      if (!known.size && !workers.some((worker) => worker.name === name)) this.slots.delete(name);
    }
    this.#draw(end);
  }

  #draw(end) {
    const lanes = [...this.slots].slice(0, WORKERS);
    const height = Math.max(1, lanes.length) * (2 * LANE + GAP + LABEL) + LABEL;
    const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${height}`, "aria-hidden": "true" });
    const most = Math.max(2, ...lanes.flatMap(([, known]) => [...known.values()].map((slot) => slot[4])));
    lanes.forEach(([name, known], index) => this.#lane(svg, name, known, end, most, index));
    for (const ago of [15, 10, 5]) {
      const x = WIDTH * (1 - ago / SPAN_S);
      svg.append(make("text", { x, y: height - 3, "text-anchor": "middle" }, `−${ago} s`));
    }
    this.box.replaceChildren(svg);
    this.#tell(lanes, most);
  }

  #lane(svg, name, known, end, most, index) {
    const top = index * (2 * LANE + GAP + LABEL) + LABEL;
    svg.append(make("text", { x: 4, y: top - 3 }, name));
    for (const [at, , unet, vae, rows, chunks] of known.values()) {
      const x = (seconds) => WIDTH * (1 - (end - at + seconds) / SPAN_S);
      const wide = (seconds) => Math.max(0.6, (WIDTH * seconds) / SPAN_S - 0.3);
      const high = (LANE - 2) * Math.max(0.12, rows / most);
      // Without overlap the decode follows the UNet call, so it ends the slot.
      if (rows) svg.append(make("rect", { class: "unet", x: x(unet + vae), y: top + LANE - high, width: wide(unet), height: high }));
      if (chunks) svg.append(make("rect", { class: "vae", x: x(vae), y: top + LANE + GAP, width: wide(vae), height: LANE - GAP }));
    }
  }

  #tell(lanes, most) {
    let [unet, vae, both] = [0, 0, 0];
    for (const [, known] of lanes) {
      for (const [, , , , rows, chunks] of known.values()) {
        if (rows && chunks) both += 1;
        else if (rows) unet += 1;
        else if (chunks) vae += 1;
      }
    }
    const text = unet + vae + both ? `UNet (blue, upper; up to ${most} rows) ${unet}, VAE (orange, lower) ${vae}, both ${both}` : "no slot lately";
    if (this.told.textContent !== text) this.told.textContent = text;
  }
}
