"""What previews cost, in CPU seconds, and how near they come to the images.

python -m benchmarks.preview [--model DIR] [--preview-s 1.0] [--jobs 16] [--steps 25]
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from synerdiff.engine.batch import Batch
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.preview import Previews, fit_projection
from synerdiff.engine.types import ImageReady, Previewed, Request
from synerdiff.workers.previews import preview_event

PROMPTS = ("a red apple on a blue background", "a green frog", "a yellow star", "a purple fish")


class Timed(Previews):
    """Previews that count their own CPU seconds."""

    spent_s = 0.0

    def take(self, batch: Batch, model_output: Tensor) -> None:
        began = time.thread_time()
        super().take(batch, model_output)
        self.spent_s += time.thread_time() - began


def measure(model: LoadedModel, preview_s: float, jobs: int, steps: int) -> dict[str, Any]:
    """One run of ``jobs`` jobs at once."""
    engine = Engine(model, EngineConfig())
    timed = engine._previews = Timed(model, preview_s, time.perf_counter)
    for index in range(jobs):
        size = (model.entry.default_width, model.entry.default_height)
        prompt = PROMPTS[index % len(PROMPTS)]
        engine.admit(Request(f"job{index}", prompt, "", *size, steps, 5.0, "dpmpp_2m", index, 1, "exact"))
    began, encode_s, count, size_bytes = time.process_time(), 0.0, 0, 0
    last: dict[str, Any] = {}
    errors = []
    while not engine.idle:
        for event in engine.step():
            if isinstance(event, Previewed):
                before = time.thread_time()
                size_bytes = max(size_bytes, len(preview_event(event).model_dump_json()))
                encode_s += time.thread_time() - before
                count += 1
                last[event.job_id] = (event.step, event.images[0])
            if isinstance(event, ImageReady) and last.get(event.job_id, (0,))[0] == steps:
                errors.append(distance(event.pixels, last[event.job_id][1], model.entry.latent_multiple))
    total_s = time.process_time() - began
    spent_s = timed.spent_s + encode_s
    return {
        "previews": count,
        "engine_cpu_s": round(timed.spent_s, 4),
        "encode_cpu_s": round(encode_s, 4),
        "total_cpu_s": round(total_s, 3),
        "share": round(spent_s / total_s, 5),
        "largest_event_bytes": size_bytes,
        "last_step_rms_of_255": round(sum(errors) / len(errors), 2) if errors else None,
    }


def distance(pixels: Any, preview: Any, factor: int) -> float:
    """Root mean square between a preview and the image at the preview's size."""
    small = functional.avg_pool2d(torch.tensor(pixels).permute(2, 0, 1)[None].float(), factor)[0].permute(1, 2, 0)
    return float((torch.tensor(preview).float() - small).square().mean().sqrt())


def main() -> None:
    """Print one JSON object a line: the fit, then runs with the given interval and with one at every step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None)
    parser.add_argument("--preview-s", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=25)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(options.model, device="cpu")
    began = time.process_time()
    fit_projection(model)
    print(json.dumps({"fit_cpu_s": round(time.process_time() - began, 3)}))
    for preview_s in (options.preview_s, 1e-9):
        found = measure(model, preview_s, options.jobs, options.steps)
        print(json.dumps({"preview_s": preview_s, **found}), flush=True)


if __name__ == "__main__":
    main()
