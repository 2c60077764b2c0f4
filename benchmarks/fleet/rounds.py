"""The same jobs through the engine alone and through a whole fleet, one round each."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.account import ENGINE, Account, Bookkeeper
from synerdiff.client import Client, JobFields
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.profiler import apply_setup, setup_of
from synerdiff.engine.types import ImageReady, Request, SlotReport
from synerdiff.ledger import Ledger
from synerdiff.policy import parse_profile, plan_view
from synerdiff.protocol import pool_of
from synerdiff.settings.settings import SHIPPED_MODEL
from synerdiff.workers.engines import engine_config
from synerdiff.workers.messages import EngineSpec

CAPACITY = 16
PROMPTS = ("a penguin in the snow", "a red apple on a blue background", "a castle at sunset", "a happy face")


@dataclass(frozen=True, slots=True)
class Round:
    """One round, alone or in the fleet; ``done_s`` are the images' times after the start, in order."""

    done_s: list[float]
    rows_per_call: float
    engine_cpu_s: float

    @property
    def saturated(self) -> float:
        """Images a second while the batch is full."""
        first, last = CAPACITY - 1, len(self.done_s) - CAPACITY
        return (last - first) / (self.done_s[last] - self.done_s[first])

    @property
    def whole(self) -> float:
        """Images a second from the start to the last image."""
        return len(self.done_s) / self.done_s[-1]


@dataclass(frozen=True, slots=True)
class EngineRound(Round):
    """One round of the engine alone; seconds of wall time."""

    stepping_s: float
    calls_s: float

    @property
    def overhead(self) -> float:
        """The share of stepping outside UNet and VAE calls."""
        return 1.0 - self.calls_s / self.stepping_s


@dataclass(frozen=True, slots=True)
class FleetRound(Round):
    """One round of the fleet."""

    account: Account


def workload(count: int) -> list[JobFields]:
    """Jobs that keep a batch full: 14 to 26 steps, so that they join and leave one by one; ``exact`` fixes the work."""
    return [
        {
            "prompt": PROMPTS[number % len(PROMPTS)],
            "steps": 14 + 5 * number % 13,
            "sampler": "ddim",
            "quality": "exact",
            "seed": number,
        }
        for number in range(count)
    ]


def fleets_engine(model: LoadedModel, ledger: Ledger, threads: int) -> Engine:
    """An engine as the fleet's worker has it: the same profile, limits and plan, and nothing else of the fleet."""
    pool = pool_of(SHIPPED_MODEL)
    (worker,) = ledger.workers(pool)
    profile = parse_profile(ledger.get_profile(worker.profile_id) or "")
    apply_setup(model, setup_of(profile))
    engine = Engine(model, engine_config(EngineSpec(SHIPPED_MODEL, threads=threads, capacity=CAPACITY), profile))
    engine.predict_by(profile)
    head = ledger.get_plan(pool, worker.profile_id)
    engine.set_plan(plan_view(head, ledger.get_table(head["table_hash"]) or ""))
    return engine


def engine_round(engine: Engine, jobs: list[JobFields]) -> EngineRound:
    """Run the jobs in a new engine, alone."""
    side = {"width": 128, "height": 128, "negative_prompt": "", "guidance_scale": 5.0, "n": 1}
    for number, job in enumerate(jobs):
        engine.admit(Request(job_id=str(number), **{**side, **job}))  # type: ignore[arg-type]
    images, reports, done_s, cpu_s = list[ImageReady](), list[SlotReport](), list[float](), time.process_time()
    began = time.perf_counter()
    stepping_s = 0.0
    while not engine.idle:
        started = time.perf_counter()
        events = engine.step()
        ended = time.perf_counter()
        stepping_s += ended - started
        made = [event for event in events if isinstance(event, ImageReady)]
        images += made
        done_s += [ended - began] * len(made)
        reports += [event for event in events if isinstance(event, SlotReport)]
    return EngineRound(
        done_s=done_s,
        rows_per_call=mean_rows([(image.receipt.rows_run, image.receipt.rows_per_call) for image in images]),
        engine_cpu_s=time.process_time() - cpu_s,
        stepping_s=stepping_s,
        calls_s=sum(report.unet_s + report.vae_s for report in reports),
    )


def mean_rows(images: list[tuple[int, float]]) -> float:
    """Mean rows of the UNet calls that images took part in, from their own rows and their receipts."""
    return sum(rows * per_call for rows, per_call in images) / sum(rows for rows, _ in images)


def fleet_round(client: Client, jobs: list[JobFields], books: Bookkeeper) -> FleetRound:
    """Send the jobs through the fleet at once; times are by Redis's clock, from the first submit."""
    with books.keeping() as account:
        views = client.wait_many(client.submit_many(jobs), timeout_s=3600)
    if any(view.state != "succeeded" for view in views):
        raise SystemExit("a job of the benchmark did not succeed")
    began = min(view.created_at for view in views)
    receipts = [view.receipt for view in views if view.receipt is not None]
    return FleetRound(
        done_s=sorted((view.finished_at or 0.0) - began for view in views),
        rows_per_call=mean_rows([(receipt.rows_run, receipt.rows_per_call) for receipt in receipts]),
        engine_cpu_s=account.cpu_s[ENGINE],
        account=account,
    )
