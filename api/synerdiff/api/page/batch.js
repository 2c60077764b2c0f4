// The jobs that run now, a card each, changed in place so that focus stays where it is.
const PICTURE = /^data:image\/(webp|png|jpeg);base64,[A-Za-z0-9+/=]+$/;
const STATES = { step: "running", started: "running", image: "running", preview: "running", requeued: "queued" };

export class Batch {
  constructor(list, none, cancel) {
    Object.assign(this, { list, none, cancel, cards: new Map() });
  }

  // Show these jobs and no others.
  keep(views) {
    const ids = new Set(views.map(({ id }) => id));
    for (const id of this.cards.keys()) if (!ids.has(id)) this.remove(id);
    for (const view of views) this.show(view);
  }

  show(view) {
    const card = this.cards.get(view.id) ?? this.#add(view);
    card.querySelector(".more").textContent = `${view.job.n ?? 1} × ${view.job.sampler ?? ""} · ${view.job.quality ?? ""}`;
    this.#progress(card, view.state, Math.max(view.step ?? 0, Number(card.dataset.step ?? 0)), view.job.steps);
  }

  // One event of a job that is followed.
  take(id, event) {
    const card = this.cards.get(id);
    if (!card) return;
    const steps = event.steps || Number(card.dataset.steps);
    this.#progress(card, STATES[event.kind] ?? event.kind, event.step || Number(card.dataset.step ?? 0), steps);
    if (event.data?.eta_s) {
      const ahead = event.data.position ? `${event.data.position} before it, ` : "";
      card.querySelector(".eta").textContent = `${ahead}about ${Math.ceil(Number(event.data.eta_s))} s left`;
    }
    const picture = Object.values(event.data ?? {}).find((value) => PICTURE.test(value));
    if (picture) {
      const image = card.querySelector("img");
      image.src = picture;
      image.hidden = false;
    }
  }

  remove(id) {
    this.cards.get(id)?.remove();
    this.cards.delete(id);
    this.none.hidden = this.cards.size > 0;
  }

  #add(view) {
    const card = document.getElementById("card").content.firstElementChild.cloneNode(true);
    card.querySelector(".text").textContent = view.job.prompt;
    card.querySelector(".id").textContent = view.id;
    card.querySelector("progress").setAttribute("aria-label", `steps of ${view.job.prompt.slice(0, 60)}`);
    const button = card.querySelector(".cancel");
    button.setAttribute("aria-label", `Cancel ${view.job.prompt.slice(0, 60)}`);
    button.addEventListener("click", () => this.cancel(view.id));
    this.cards.set(view.id, card);
    this.list.append(card);
    this.none.hidden = true;
    return card;
  }

  #progress(card, state, step, steps) {
    Object.assign(card.dataset, { step, steps });
    card.querySelector(".state").textContent = state === "running" && step ? `step ${step} of ${steps}` : state;
    card.querySelector("progress").value = steps ? step / steps : 0;
  }
}
