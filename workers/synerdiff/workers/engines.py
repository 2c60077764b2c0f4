"""Building the real engine inside the engine process. Importing this module imports torch."""

from __future__ import annotations

import importlib.metadata
import time
from dataclasses import replace
from typing import Literal, cast

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.denoise import fixed_rows
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.precision import dtype_name
from synerdiff.engine.profiler import Served, apply_setup, check_profile, device_label, serving_profile, setup_of
from synerdiff.engine.types import Event, JobFailed, Parted, Request
from synerdiff.policy import Profile, default_plan, parse_profile, plan_view, planning_document
from synerdiff.policy.batch import batch_cap
from synerdiff.policy.cost import CostModel
from synerdiff.protocol.errors import ModelError, SynerDiffError
from synerdiff.telemetry import get_logger
from synerdiff.workers.leisure import Leisure
from synerdiff.workers.messages import EngineSpec, Profiled, Ready, SetPlan

log = get_logger(__name__)

Executor = Literal["auto", "serial", "threads", "streams"]
PACKAGES = ("synerdiff", "torch", "diffusers", "transformers", "numpy")
_WARM_UP = "warm-up"


class ServedEngine:
    """An engine and what its process says of it; ``asked`` are its limits before a profile decided the rest."""

    def __init__(self, engine: Engine, ready: Ready, leisure: Leisure, asked: EngineConfig | None = None) -> None:
        self._engine = engine
        self._asked = asked or engine.config
        self.ready = ready
        self._leisure = leisure

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self._engine.idle

    def admit(self, request: Request, kept: bytes | None) -> None:
        """Queue a job, to go on from a latent checkpoint if there is one."""
        self._engine.admit(request, kept)

    def cancel(self, job_id: str) -> None:
        """Drop a job."""
        self._engine.cancel(job_id)

    def part(self, job_id: str) -> Parted:
        """Drop a job, with what is done of it."""
        return self._engine.part(job_id)

    def follow(self, plan: SetPlan) -> None:
        """Follow a plan, and measure again at leisure where it asks for that.

        Raises ``PolicyError`` or ``PlanError`` when the plan is damaged, or its profile is for something else.
        """
        view = plan_view(plan.head, plan.table)
        if plan.profile is not None:
            profile = parse_profile(plan.profile)
            check_profile(profile, self._engine.model, self._asked)
            self._engine.predict_by(profile)
        self._engine.set_plan(view)
        if view.plan.profile_id:
            self._leisure.ask(view.plan.reprofile)

    @property
    def has_chore(self) -> bool:
        """Whether a new profile is asked for and not measured yet."""
        return self._leisure.busy

    def do_chore(self) -> Profiled | None:
        """Measure one piece of the new profile; the profile once it is whole."""
        profile = self._leisure.work()
        if profile is None:
            return None
        self._engine.predict_by(profile)
        return profiled(profile)

    def step(self) -> list[Event]:
        """Run one slot."""
        return self._engine.step()


def profiled(profile: Profile) -> Profiled:
    """A profile as it crosses the pipe, to be published."""
    return Profiled(profile.profile_id, planning_document(profile))


def _versions(spec: EngineSpec) -> dict[str, str]:
    """What decides the pixels, for receipts; the parser of prompt weights where one is used."""
    parser = () if spec.prompt_weights == "off" else (spec.prompt_weights,)
    return {name: importlib.metadata.version(name) for name in (*PACKAGES, *parser)}


def warm_up(engine: Engine, model: LoadedModel) -> None:
    """Make one image in one step: the device works, and its first-use costs are paid before a job waits for it."""
    entry = model.entry
    sampler = entry.samplers[0]
    size = (entry.default_width, entry.default_height)
    engine.admit(Request(_WARM_UP, "", "", *size, 1, 5.0, sampler, 0, 1, "exact"))
    while not engine.idle:
        for event in engine.step():
            if isinstance(event, JobFailed):
                raise ModelError(f"the model cannot make an image: {event.error.message}")


def compile_rows(engine: Engine, model: LoadedModel) -> None:
    """Where UNet calls are compiled, have each number of rows compiled before a job waits for it."""
    if engine.config.unet_rows != "compiled":
        return
    entry = model.entry
    size = (entry.default_width, entry.default_height)
    for rows in fixed_rows(engine.config):
        begun = time.monotonic()
        engine.set_plan(default_plan(rows))
        engine.admit(Request(_WARM_UP, "", "", *size, 3, 1.0, entry.samplers[0], 0, rows, "fast"))
        try:
            for _ in range(2):  # a CUDA graph is recorded at the second call
                engine.step()
        except RuntimeError as error:
            raise ModelError(f"unet_rows=compiled: the UNet cannot be compiled: {type(error).__name__}") from error
        engine.cancel(_WARM_UP)
        log.info("unet compiled", rows=rows, seconds=round(time.monotonic() - begun, 1))


def find_profile(model: LoadedModel, spec: EngineSpec) -> Served | None:
    """The profile to go by, and the model laid out for it; None where it cannot be had: then plans are the default."""
    try:
        config = engine_config(spec, None)
        served = serving_profile(model, cache_dir=spec.cache_dir, threads=spec.threads, config=config)
        apply_setup(model, setup_of(served.profile))
    except (SynerDiffError, RuntimeError, ValueError) as error:
        log.warning("no profile: the default plan is in force", reason=str(error))
        return None
    return served


def engine_config(spec: EngineSpec, profile: Profile | None) -> EngineConfig:
    """The engine's limits: what the settings leave open, the profile decides."""
    config = EngineConfig(
        capacity=spec.capacity,
        max_rows=spec.max_rows,
        executor=spec.executor,
        keep_steps=spec.keep_steps,
        keep_s=spec.keep_s,
        keep_bytes=spec.keep_bytes,
        long_prompts=spec.long_prompts,
        prompt_weights=spec.prompt_weights,
        unet_rows=spec.unet_rows,
        preview_s=spec.preview_s,
    )
    if profile is None:
        return config
    executor = cast("Executor", profile.executor) if spec.executor == "auto" else spec.executor
    return replace(config, max_rows=spec.max_rows or profile.max_rows, executor=executor)


def build(spec: EngineSpec) -> ServedEngine:
    """Load the model, make sure that it works, and find its profile. Raises :class:`ModelError` with the reason."""
    model = load_model(
        spec.model_path,
        name=spec.model,
        device=spec.device,
        dtype=spec.dtype,
        revision=spec.model_revision,
        threads=spec.threads,
        expected_hash=spec.model_hash,
    )
    warm_up(Engine(model), model)
    served = find_profile(model, spec)
    profile = served.profile if served else None
    engine = Engine(model, engine_config(spec, profile))
    compile_rows(engine, model)
    engine.set_plan(default_plan(min(spec.capacity, batch_cap(CostModel(profile))) if profile else spec.capacity))
    if profile is not None:
        engine.predict_by(profile)
    ready = Ready(
        model.entry,
        device_label(model.device),
        profiled(profile) if profile else None,
        _versions(spec),
        dtype_name(model.dtype),
    )
    return ServedEngine(engine, ready, Leisure(model, served), engine_config(spec, None))
