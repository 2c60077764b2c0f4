"""What latent checkpoints cost: CPU of a run with and without them, and of one checkpoint by its size.

Run ``python -m benchmarks.keeping [--jobs 24] [--rounds 5] [--every 5] [--json]``. The engine runs the shipped model;
each checkpoint is pickled as for the pipe to the worker and kept by the ledger on an embedded Redis, whose CPU counts.
CPU seconds hold on a busy machine too. ``every 0`` is what a worker does by itself.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from synerdiff.cli.embedded import EmbeddedRedis
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.guidance import Guidance
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.sample import Sample
from synerdiff.engine.shape import Shape
from synerdiff.engine.snapshot import encode
from synerdiff.engine.text import Conditioning, Embedding
from synerdiff.engine.types import Request, Snapshot
from synerdiff.ledger import Claim, Ledger, WorkerReport
from synerdiff.protocol import Job
from synerdiff.settings import Settings

POOL = "bench"
SAMPLERS = ("ddim", "dpmpp_2m", "euler_a")
QUALITIES = ("exact", "fast")
SIZES = {"128x128 of the shipped model": 16, "512x512 of SD 1.x": 64, "1024x1024 of SDXL": 128}


@dataclass
class Unit:
    """One checkpoint of one image with everything that can be in it; CPU seconds."""

    image: str
    bytes: int
    encode_s: float
    pipe_s: float
    keep_s: float
    server_s: float

    @property
    def whole_s(self) -> float:
        """All of it."""
        return self.encode_s + self.pipe_s + self.keep_s + self.server_s


class Keeper:
    """Keeps checkpoints as a worker does."""

    def __init__(self, url: str) -> None:
        self.ledger = Ledger.connect(url)
        self.ledger.heartbeat(WorkerReport(name="w", pool=POOL, capacity=1000), 3600)
        self.ledger.submit(Job(id="job", model="m", prompt="p", width=128, height=128), POOL)
        claim = self.ledger.claim("job", worker="w", nonce="n", lease_s=3600)
        assert isinstance(claim, Claim)
        self._token, self._steps = claim.token, 0

    def server_cpu(self) -> float:
        info = self.ledger.client.info("cpu")
        return float(info["used_cpu_sys"]) + float(info["used_cpu_user"])

    def keep(self, data: bytes) -> None:
        self._steps += 1
        assert self.ledger.keep("job", self._token, self._steps, data, 3600)


def run(model: LoadedModel, jobs: int, keeper: Keeper, config: EngineConfig) -> tuple[float, int]:
    """CPU seconds of a batch that is kept full, with its checkpoints, and how many these were."""
    engine = Engine(model, config)
    for number in range(jobs):
        sampler, quality = SAMPLERS[number % 3], QUALITIES[number % 2]
        engine.admit(Request(str(number), "a red star", "", 128, 128, 25, 5.0, sampler, number, 1, quality))
    server, begun, kept = keeper.server_cpu(), time.process_time(), 0
    while not engine.idle:
        for event in pickle.loads(pickle.dumps(engine.step())):
            if isinstance(event, Snapshot):
                keeper.keep(event.data)
                kept += 1
    return time.process_time() - begun + keeper.server_cpu() - server, kept


def sample_of(model: LoadedModel, side: int) -> Sample:
    """A sample with latents, history, generator state and both differences of skip-CFG."""
    request = Request("job", "a red star", "", side * 8, side * 8, 25, 5.0, "dpmpp_2m", 1, 1, "fast")
    table = model.tables.get("dpmpp_2m", 25)

    def noise() -> torch.Tensor:
        return torch.randn(model.latent_channels, side, side)

    nothing = Embedding(torch.zeros(1, 1), None)
    sample = Sample(
        request, 0, table, Conditioning(nothing, nothing), torch.Generator(), noise(), Shape(side, side, 1, model.dtype)
    )
    sample.history, sample.step = noise(), 10
    sample.guidance = Guidance(model.calibration, "epsilon").begin(table, 5.0, "fast")
    sample.guidance.last, sample.guidance.before = noise(), noise()
    return sample


def unit(model: LoadedModel, image: str, side: int, keeper: Keeper, times: int = 200) -> Unit:
    """The parts of one checkpoint's cost."""
    sample = sample_of(model, side)
    data = encode([sample], model, 0.0)

    def cpu(call: object) -> float:
        begun = time.process_time()
        for _ in range(times):
            call()  # type: ignore[operator]
        return (time.process_time() - begun) / times

    encode_s = cpu(lambda: encode([sample], model, 0.0))
    pipe_s = cpu(lambda: pickle.loads(pickle.dumps(Snapshot("job", 1, data))))
    server = keeper.server_cpu()
    keep_s = cpu(lambda: keeper.keep(data))
    return Unit(image, len(data), encode_s, pipe_s, keep_s, (keeper.server_cpu() - server) / times)


def main() -> None:
    """Print the tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(None, device="cpu", threads=1)
    off = EngineConfig(capacity=8, executor="serial")
    by_cost = Settings.model_fields["checkpoint_s"].default
    configs = {
        "none": off,
        "chosen by cost": replace(off, keep_s=by_cost),
        f"every {options.every} steps": replace(off, keep_steps=options.every),
    }
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedRedis(Path(directory))
        server.start()
        try:
            keeper = Keeper(server.url)
            units = [unit(model, image, side, keeper) for image, side in SIZES.items()]
            rounds = [
                {name: run(model, options.jobs, keeper, config) for name, config in configs.items()}
                for _ in range(options.rounds)
            ]
        finally:
            server.stop()
    rows = {}
    for name in configs:
        cpu_s = statistics.median(each[name][0] for each in rounds)
        kept = rounds[-1][name][1]
        rows[name] = {
            "cpu_s": cpu_s,
            "kept": kept,
            "share_by_parts": kept * units[0].whole_s / cpu_s,
            "share_by_difference": statistics.median(each[name][0] / each["none"][0] - 1 for each in rounds),
        }
    if options.json:
        print(json.dumps({"runs": rows, "units": [{**asdict(each), "whole_s": each.whole_s} for each in units]}))
        return
    print(
        f"{'checkpoint of one image':32} {'bytes':>9} {'encode us':>10} {'pipe us':>8} {'keep us':>8} {'Redis us':>9}"
    )
    for each in units:
        parts = [each.encode_s, each.pipe_s, each.keep_s, each.server_s]
        print(f"{each.image:32} {each.bytes:9} " + " ".join(f"{part * 1e6:9.0f}" for part in parts))
    print(f"\n{options.jobs} jobs of 25 steps: {'CPU s':>10} {'kept':>5} {'by parts':>9} {'by difference':>14}")
    for name, row in rows.items():
        shares = f"{row['share_by_parts']:9.2%} {row['share_by_difference']:14.2%}"
        print(f"{name:22} {row['cpu_s']:10.2f} {row['kept']:5} {shares}")


if __name__ == "__main__":
    main()
