"""What crosses the pipe between a worker and its engine process. Plain values, pickled, one machine only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from synerdiff.engine.types import Event, Request
from synerdiff.protocol import ErrorInfo, ModelEntry


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What an engine process is started with; no secrets.

    ``cache_dir`` is where profiles are kept (empty: nowhere), ``factory`` names the function that builds the engine.
    """

    model: str
    model_path: str | None = None
    model_revision: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    threads: int = 0
    executor: Literal["auto", "serial", "threads", "streams"] = "auto"
    capacity: int = 16
    max_rows: int = 0
    keep_steps: int = 0
    keep_s: float = 0.0
    keep_bytes: int = 4 * 2**20
    long_prompts: Literal["refuse", "chunk"] = "refuse"
    prompt_weights: Literal["off", "compel"] = "off"
    model_hash: str | None = None
    cache_dir: str = ""
    unet_rows: Literal["any", "padded", "compiled"] = "any"
    preview_s: float = 0.0
    factory: str = "synerdiff.workers.engines:build"
    log_level: str = "INFO"
    log_format: Literal["json", "console"] = "console"


@dataclass(frozen=True, slots=True)
class Profiled:
    """What the engine goes by now: a profile's id and its document."""

    profile_id: str
    document: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine process is loaded and has made its first image. ``profile`` is None where none could be measured,
    ``dtype`` the precision that the model runs in."""

    entry: ModelEntry
    device: str
    profile: Profiled | None = None
    versions: dict[str, str] = field(default_factory=dict)
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    """The engine process cannot go on and ends."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class Slot:
    """One turn of the engine; it tells the parent that the device still answers, also when nothing happened."""

    events: list[Event]


@dataclass(frozen=True, slots=True)
class Admit:
    """Take a job in at the next step boundary; it goes on from the latent checkpoint ``kept``."""

    request: Request
    kept: bytes | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop a job at the next step boundary."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Part:
    """Drop a job at the next step boundary, and hand out what is done of it."""

    job_id: str


@dataclass(frozen=True, slots=True)
class SetPlan:
    """Follow this concurrency plan from the next slot on: the record's fields and its table.

    ``profile`` is the document that the plan was made by, where the engine has not been told of it yet.
    """

    head: dict[str, str]
    table: str
    profile: str | None = None


Command = Admit | Cancel | Part | SetPlan
Report = Ready | Broken | Slot | Profiled
