"""How far the engine's images are from the diffusers pipeline's: ``python -m benchmarks.parity``.

For every sampler, the largest absolute difference of any value of an image in [0, 1]: alone in the batch, and in
mixed batches of 2 to 8 images with other prompts, steps, guidance scales, samplers and negative prompts. On the
shipped model, and on small random checkpoints for each family and prediction type.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from benchmarks.checkpoints import make_checkpoint
from benchmarks.reference import Image, Reference, engine_images
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.model import LoadedModel, load_model, shipped_path
from synerdiff.engine.types import Request

PROMPTS = ("a red apple on a blue background", "a penguin in the snow", "a yellow star", "a blue heart", "")
MIXED_SIZES = (2, 3, 5, 8)
RANDOM = (
    ("sd1", "epsilon"),
    ("sd1", "v_prediction"),
    ("sd2", "v_prediction"),
    ("sdxl", "epsilon"),
    ("sdxl", "v_prediction"),
    ("lcm", "epsilon"),
    ("lcm", "v_prediction"),
    ("lcm-xl", "epsilon"),
    ("turbo", "epsilon"),
    ("sd-turbo", "epsilon"),
)
CONFIG = EngineConfig(capacity=64, float_images=True)


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of the table: ``alone`` and ``mixed`` are largest absolute differences in [0, 1]."""

    model: str
    prediction: str
    sampler: str
    alone: float
    mixed: float


class Comparison:
    """One model beside its pipeline; reference images are made once for each request."""

    def __init__(self, path: Path, name: str) -> None:
        self.model: LoadedModel = load_model(path, name=name, device="cpu")
        self._reference = Reference(path)
        self._known: dict[Request, list[Image]] = {}

    def largest(self, requests: list[Request]) -> dict[str, float]:
        """Run the requests in one batch; the largest difference by sampler."""
        images = engine_images(self.model, requests, CONFIG)
        found: dict[str, float] = {}
        for request in requests:
            expected = self._expected(request)
            worst = max(float(np.abs(images[request.job_id, i] - expected[i]).max()) for i in range(request.n))
            found[request.sampler] = max(found.get(request.sampler, 0.0), worst)
        return found

    def _expected(self, request: Request) -> list[Image]:
        if request not in self._known:
            self._known[request] = [self._reference.image(request, index) for index in range(request.n)]
        return self._known[request]


def make_request(model: LoadedModel, number: int, sampler: str, steps: int, choose: random.Random) -> Request:
    """A request that is like no other: its prompts, guidance and seed come from ``choose``."""
    return Request(
        job_id=f"{sampler}-{number}",
        prompt=choose.choice(PROMPTS),
        negative_prompt=choose.choice(("", "", "a cat")),
        width=model.entry.default_width,
        height=model.entry.default_height,
        steps=steps,
        guidance_scale=choose.choice((1.0, 3.0, 5.0, 7.5)),
        sampler=sampler,
        seed=choose.randrange(10_000),
        n=1,
        quality="exact",
    )


def compare(path: Path, name: str, steps: int) -> list[Difference]:
    """The table's lines for one checkpoint."""
    comparison, choose = Comparison(path, name), random.Random(0)
    model = comparison.model
    samplers = model.entry.samplers
    alone, mixed = dict.fromkeys(samplers, 0.0), dict.fromkeys(samplers, 0.0)
    pool: list[Request] = []
    for sampler in samplers:
        for number, count in enumerate((steps, max(1, steps - 3))):
            pool.append(make_request(model, number, sampler, count, choose))
            alone[sampler] = max(alone[sampler], comparison.largest([pool[-1]])[sampler])
    for size in MIXED_SIZES:
        choose.shuffle(pool)
        for start in range(0, len(pool), size):
            for sampler, worst in comparison.largest(pool[start : start + size]).items():
                mixed[sampler] = max(mixed[sampler], worst)
    prediction = model.tables.prediction
    return [Difference(name, prediction, sampler, alone[sampler], mixed[sampler]) for sampler in samplers]


def measure(steps: int) -> list[Difference]:
    """Compare the shipped model and a random checkpoint of each family and prediction type."""
    found = compare(shipped_path(), "tiny-emoji", steps)
    with tempfile.TemporaryDirectory() as folder:
        for family, prediction in RANDOM:
            path = Path(folder) / f"{family}-{prediction}"
            make_checkpoint(path, family, prediction=prediction)
            found += compare(path, f"random {family}", steps)
    return found


def main() -> None:
    """Print the table; ``--json FILE`` writes it as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.steps)
    print(f"{'model':<14}{'prediction':<14}{'sampler':<18}{'alone':>10}{'mixed':>10}")
    for line in found:
        print(f"{line.model:<14}{line.prediction:<14}{line.sampler:<18}{line.alone:>10.2g}{line.mixed:>10.2g}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(line) for line in found], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
