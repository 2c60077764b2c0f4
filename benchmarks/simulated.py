"""The simulator beside the bench: fitted on one trace, then asked for the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from synerdiff.policy.cost import CostModel
from synerdiff.policy.profile import Granularity, Profile, SkipShare, parse_profile
from synerdiff.policy.simulator import Outcome, Scenario, SimJob, parse_trace, simulate, summary
from synerdiff.policy.simulator.pipeline import Batching, PipelineRun

Document = dict[str, Any]
FITTED_ON = "mixed"
PIPELINES = ("diffusers", "static")
BESIDE = "beside.json"
"""This machine's profile with decodes on a second thread, which is how ``continuous-naive`` runs."""

REFRESHES = tuple(round(1.0 + 0.1 * step, 1) for step in range(1, 80))


@dataclass(frozen=True, slots=True)
class Fit:
    """Profiles of the engine, and of the engine with decodes beside its calls, scaled to what the fitted trace took on
    a machine whose pace is one second; and the factor between the plain pipeline and its tuner's times, which are the
    fitted trace's where the rows of an image are the same (``tuned``, by those), and else those of the trace itself."""

    engine: Profile
    beside: Profile | None = None
    pipeline: float = 1.0
    tuned: Mapping[int, Document] = field(default_factory=dict)


def compare(out: Path, found: Mapping[str, Document]) -> list[Document]:
    """Measured and simulated E2E of every policy and section; nothing where there is no profile or fitted trace."""
    kept = out / "profile.json"
    if not kept.exists() or FITTED_ON not in found:
        return []
    profiles = [parse_profile(path.read_text(encoding="utf-8")) for path in (kept, out / BESIDE) if path.exists()]
    fit = _fit(profiles, found[FITTED_ON], _jobs(out, found[FITTED_ON]))
    rows = []
    for section, document in found.items():
        if section.startswith("ablation") or not fits(document, found[FITTED_ON]):
            continue
        jobs = _jobs(out, document)
        for item in document["policies"]:
            outcome = _simulate(item["policy"], jobs, fit, document, item["pace_s"])
            if outcome is not None:
                simulated = summary(outcome.e2e_s)
                pairs = {which: (item["e2e_s"][which], simulated[which]) for which in ("mean", "p99")}
                rows.append({"section": section, "policy": item["policy"], "fitted": section == FITTED_ON, **pairs})
    return rows


def fits(document: Document, fitted: Document) -> bool:
    """Whether a run has the precision that the profile and the fitted run have."""
    return bool(document.get("dtype", "float32") == fitted.get("dtype", "float32"))


def _jobs(out: Path, document: Document) -> list[SimJob]:
    lines = (out / f"{document['section']}.trace.jsonl").read_text(encoding="utf-8").splitlines()
    jobs = parse_trace(lines)
    return [replace(job, at=0.0) for job in jobs] if document["closed"] else jobs


def _simulate(policy: str, jobs: list[SimJob], fit: Fit, document: Document, pace_s: float) -> Outcome | None:
    if policy not in PIPELINES:
        beside = policy == "continuous-naive" and fit.beside
        profile = _scaled(beside or fit.engine, pace_s)
        return simulate(policy, jobs, Scenario(profile, cap=document["batch_cap"]))
    tuned = document["static"]
    rows = jobs[0].rows
    timed = fit.tuned.get(rows) or tuned
    if not timed["times"]:
        return None
    pipeline = TimedPipeline(timed["times"], rows, fit.pipeline * pace_s / timed["pace_s"])
    batching = Batching(tuned["cap"], tuned["window_s"]) if policy == "static" else Batching()
    cost = CostModel(pipeline.profile(fit.engine))
    return PipelineRun(cost, jobs, batching, gpus=1, policy=policy, fixed_s=pipeline.fixed_s).run()


def _fit(profiles: list[Profile], document: Document, jobs: list[SimJob]) -> Fit:
    profile, *rest = profiles
    items = {item["policy"]: item for item in document["policies"]}
    tuned = {jobs[0].rows: document["static"]} if document["static"]["times"] else {}
    pipeline = _factor("diffusers", items, jobs, Fit(profile), document)
    factor = _factor("continuous", items, jobs, Fit(profile), document)
    engine = _scaled(profile, factor)
    skips = {}
    for policy, quality in (("synerdiff", "balanced"), ("synerdiff-fast", "fast")):
        if policy in items:
            skips[quality] = _refresh(policy, quality, items[policy]["rows_skipped"], jobs, engine, document)
    return Fit(replace(engine, skips=skips), _scaled(rest[0], factor) if rest else None, pipeline, tuned)


def _factor(policy: str, items: Mapping[str, Document], jobs: list[SimJob], fit: Fit, document: Document) -> float:
    """Measured over simulated time of the whole trace, at the pace it was measured at."""
    if policy not in items:
        return 1.0
    outcome = _simulate(policy, jobs, fit, document, items[policy]["pace_s"])
    return 1.0 if outcome is None else float(outcome.images_per_s / items[policy]["images_per_s"])


def _refresh(
    policy: str, quality: str, skipped: int, jobs: list[SimJob], engine: Profile, document: Document
) -> SkipShare:
    """The steps between refreshes (of a job of the profile's steps) that skip as many rows as were skipped."""

    def off(share: SkipShare) -> int:
        trial = replace(engine, skips={quality: share})
        outcome = simulate(policy, jobs, Scenario(trial, cap=document["batch_cap"]))
        return abs(outcome.rows_skipped - skipped)

    return min((SkipShare(0.0, refresh) for refresh in REFRESHES), key=off)


def _scaled(profile: Profile, factor: float) -> Profile:
    cuts = tuple(Granularity(cut.name, tuple(factor * s for s in cut.chunk_s)) for cut in profile.granularities)
    pairs = profile.pairs
    if pairs is not None:
        unet_s = tuple(tuple(factor * s for s in line) for line in pairs.unet_s)
        vae_s = tuple(tuple(factor * s for s in line) for line in pairs.vae_s)
        pairs = replace(pairs, unet_s=unet_s, vae_s=vae_s)
    return replace(
        profile,
        unet_s=tuple(factor * s for s in profile.unet_s),
        exact_s=tuple(factor * s for s in profile.exact_s),
        granularities=cuts,
        pairs=pairs,
        slot_s=factor * profile.slot_s,
        encode_s=factor * profile.encode_s,
        admit_s=factor * profile.admit_s,
    )


@dataclass(frozen=True, slots=True)
class TimedPipeline:
    """The plain pipeline as the bench's tuner timed it for jobs of so many ``rows``, times a factor."""

    times: Mapping[str, Mapping[str, float]]
    rows: int
    factor: float

    def profile(self, engine: Profile) -> Profile:
        """Its steps, as a profile that is the engine's in all else."""
        return replace(
            engine,
            rows=tuple(self.rows * cap for cap in self._caps),
            unet_s=tuple(self.factor * self.times[str(cap)]["step_s"] for cap in self._caps),
            pairs=None,
            executor="serial",
            slot_s=0.0,
        )

    def fixed_s(self, images: int) -> float:
        """What a batch of so many images takes beside its steps."""
        known = [self.times[str(cap)]["fixed_s"] for cap in self._caps]
        return self.factor * float(np.interp(images, self._caps, known))

    @property
    def _caps(self) -> list[int]:
        return sorted(map(int, self.times))
