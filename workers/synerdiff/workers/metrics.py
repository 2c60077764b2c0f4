"""The worker's Prometheus metrics; units are in the names. The engine's numbers come from its process's reports."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from synerdiff.engine.types import Event, ImageReady, SlotReport
from synerdiff.ledger import WorkerReport
from synerdiff.ledger.values import SlotSpan
from synerdiff.protocol import Timings

SLOT_BUCKETS_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
WAIT_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
E2E_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SHARE_SLOTS = 200
KINDS = ("unet", "vae", "both")
SOURCES = ("planned", "default", "built-in")
RECENT_SLOTS = 40
STORE_WEIGHT = 0.2  # of the newest job in the mean of what storing takes
RERUN = {"handed_back": "handed_back", "set_aside": "set_aside", "crashed": "engine_lost"}


class WorkerMetrics:
    """What one worker counts; ``store_s`` is what storing a job's images took lately. Safe from several threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.store_s = 0.0
        self._slots_lately: deque[tuple[int, int]] = deque(maxlen=SHARE_SLOTS)
        self._recent: deque[SlotSpan] = deque(maxlen=RECENT_SLOTS)
        self._engine_metrics()
        self._plan_metrics()
        self._job_metrics()
        self._upload_metrics()

    def _engine_metrics(self) -> None:
        registry = self.registry
        self._rows = Counter("synerdiff_unet_rows_run", "Rows that went through the UNet", registry=registry)
        self._skipped = Counter(
            "synerdiff_unet_rows_skipped", "Unconditional rows that skip-CFG left out", registry=registry
        )
        share = Gauge(
            "synerdiff_unet_skip_share_ratio", f"Skipped share of the last {SHARE_SLOTS} slots' rows", registry=registry
        )
        share.set_function(self.skip_share)
        self._slots = Counter("synerdiff_slots", "Slots by what ran in them", ["kind"], registry=registry)
        self._slot_seconds = Histogram(
            "synerdiff_slot_seconds", "Time a slot took", ["kind"], buckets=SLOT_BUCKETS_S, registry=registry
        )
        for kind in KINDS:
            self._slots.labels(kind)
            self._slot_seconds.labels(kind)
        self._unet_s = Counter("synerdiff_unet_seconds", "Time in UNet calls", registry=registry)
        self._vae_s = Counter("synerdiff_vae_seconds", "Time in VAE chunks", registry=registry)
        self._chunks = Counter("synerdiff_vae_chunks", "VAE chunks that ran", registry=registry)
        self._predicted_s = Counter(
            "synerdiff_slot_predicted_seconds", "What the profile predicted for slots it can judge", registry=registry
        )
        self._judged_s = Counter("synerdiff_slot_judged_seconds", "What those slots took", registry=registry)
        self._splits = Counter("synerdiff_oom_splits", "UNet calls cut in two for want of memory", registry=registry)
        self._vae_wait = Histogram(
            "synerdiff_vae_wait_seconds", "From last UNet step to decode", buckets=WAIT_BUCKETS_S, registry=registry
        )
        self._decode = Histogram(
            "synerdiff_vae_decode_seconds", "From decode's start to pixels", buckets=WAIT_BUCKETS_S, registry=registry
        )
        self._active = Gauge("synerdiff_active_images", "Images in the UNet batch", registry=registry)
        self._waiting = Gauge("synerdiff_vae_queue_images", "Denoised images that wait for pixels", registry=registry)
        self._restarts = Counter("synerdiff_engine_restarts", "Engine processes that were lost", registry=registry)

    def _plan_metrics(self) -> None:
        registry = self.registry
        self._theta = Gauge(
            "synerdiff_theta_ratio", "Throughput threshold of the plan followed; NaN: auto", registry=registry
        )
        self._theta.set(math.nan)
        self._plan_age = Gauge(
            "synerdiff_plan_age_seconds", "Since the scheduler last wrote the plan", registry=registry
        )
        self._plan_version = Gauge("synerdiff_plan_version", "Version of the plan; 0: built in", registry=registry)
        self._source = Gauge("synerdiff_plan_source", "1 for where the plan is from", ["source"], registry=registry)

    def _job_metrics(self) -> None:
        registry = self.registry
        self._e2e = Histogram(
            "synerdiff_job_e2e_seconds", "From submission to images stored", buckets=E2E_BUCKETS_S, registry=registry
        )
        self._queued = Histogram(
            "synerdiff_job_queued_seconds", "From submission to claim", buckets=E2E_BUCKETS_S, registry=registry
        )
        self._jobs = Counter("synerdiff_jobs", "Hints followed, by how they ended", ["outcome"], registry=registry)
        self._images = Counter("synerdiff_images", "Images stored", registry=registry)
        self._reruns = Counter(
            "synerdiff_reruns", "Jobs that go back to the queue after a start", ["pool", "reason"], registry=registry
        )
        self._lost = Counter("synerdiff_leases_lost", "Jobs whose lease was gone", ["reason"], registry=registry)
        self._held = Gauge("synerdiff_leases_held", "Jobs held", registry=registry)
        self._beat = Gauge(
            "synerdiff_heartbeat_age_seconds", "Since the ledger last heard of this worker", registry=registry
        )

    def _upload_metrics(self) -> None:
        registry = self.registry
        self._put = Histogram(
            "synerdiff_s3_put_seconds", "Time a successful PUT took", buckets=WAIT_BUCKETS_S, registry=registry
        )
        self._s3_errors = Counter("synerdiff_s3_errors", "PUTs that failed", registry=registry)
        self._s3_retries = Counter("synerdiff_s3_retries", "PUTs tried again", registry=registry)
        self._adopted = Counter("synerdiff_s3_adopted", "Images that were there already", registry=registry)
        self._upload_bytes = Gauge("synerdiff_upload_queue_bytes", "Pixels that wait to be stored", registry=registry)

    # What happens

    def take(self, event: Event) -> None:
        """Count one event of the engine."""
        match event:
            case SlotReport():
                self._take_slot(event)
            case ImageReady():
                self._vae_wait.observe(event.timings.decode_wait)
                self._decode.observe(event.timings.decode)

    def _take_slot(self, slot: SlotReport) -> None:
        kind = kind_of(slot.rows, slot.chunks)
        if kind is not None:
            self._slots.labels(kind).inc()
            self._slot_seconds.labels(kind).observe(slot.measured_s)
        self._rows.inc(slot.rows)
        self._skipped.inc(slot.skipped)
        self._slots_lately.append((slot.rows, slot.skipped))
        times = (slot.measured_s, slot.unet_s, slot.vae_s)
        self._recent.append((round(time.time(), 4), *_rounded(times), slot.rows, slot.chunks, slot.skipped))
        self._chunks.inc(slot.chunks)
        self._unet_s.inc(slot.unet_s)
        self._vae_s.inc(slot.vae_s)
        self._splits.inc(slot.splits)
        self._active.set(slot.active)
        self._waiting.set(slot.waiting)
        if slot.predicted_s > 0:
            self._predicted_s.inc(slot.predicted_s)
            self._judged_s.inc(slot.measured_s)

    def skip_share(self) -> float:
        """Skipped rows over run and skipped ones, of the last slots; 0 before the first."""
        slots = list(self._slots_lately)
        skipped = sum(each[1] for each in slots)
        return skipped / max(1, skipped + sum(each[0] for each in slots))

    def engine_lost(self) -> None:
        """Count an engine process that ended."""
        self._restarts.inc()
        self._active.set(0)
        self._waiting.set(0)

    def recent(self) -> list[SlotSpan]:
        """The last slots, for a timeline."""
        return list(self._recent)

    def plan(self, report: WorkerReport) -> None:
        """Note the plan that a report says is followed."""
        for each in SOURCES:
            self._source.labels(each).set(each == report.plan_source)
        self._theta.set(math.nan if report.plan_theta in ("", "auto") else float(report.plan_theta))
        self._plan_age.set(report.plan_age_s)
        self._plan_version.set(report.plan_version)

    def follow(self, *, held: Callable[[], float], queued: Callable[[], float]) -> None:
        """Read at each scrape: jobs held, bytes that wait to be stored."""
        self._held.set_function(held)
        self._upload_bytes.set_function(queued)

    def beat(self) -> None:
        """Note a heartbeat that the ledger took."""
        beaten_at = time.monotonic()
        self._beat.set_function(lambda: time.monotonic() - beaten_at)

    def left(self, pool: str, state: str) -> None:
        """Count how a hint ended here."""
        self._jobs.labels(state).inc()
        if state in RERUN:
            self._reruns.labels(pool, RERUN[state]).inc()
        if state in ("lost", "stalled"):
            self._lost.labels(state).inc()

    def finished(self, timings: Timings, images: int) -> None:
        """Count a job that succeeded."""
        self._e2e.observe(timings.total)
        self._queued.observe(timings.queued)
        self._images.inc(images)
        self.store_s += (timings.upload - self.store_s) * (STORE_WEIGHT if self.store_s else 1.0)

    def stored(self, seconds: float, *, adopted: bool) -> None:
        """Count an image that is in the store."""
        self._put.observe(seconds)
        self._adopted.inc(adopted)

    def store_refused(self, *, again: bool) -> None:
        """Count a PUT that failed, and whether it is tried again."""
        self._s3_errors.inc()
        self._s3_retries.inc(again)


def _rounded(seconds: tuple[float, float, float]) -> tuple[float, float, float]:
    whole, unet, vae = seconds
    return round(whole, 5), round(unet, 5), round(vae, 5)


def kind_of(rows: int, chunks: int) -> str | None:
    """What a slot ran, None for nothing."""
    if not rows:
        return "vae" if chunks else None
    return "both" if chunks else "unet"
