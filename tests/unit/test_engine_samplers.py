"""Samplers against diffusers' schedulers, step by step on random tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.reference import SCHEDULERS
from synerdiff.engine.samplers import advance
from synerdiff.engine.schedule import MULTISTEP, STOCHASTIC, Row, Table, Tables
from synerdiff.protocol.errors import InvalidJob

SIZE = (1, 4, 8, 8)
PREDICTIONS = ("epsilon", "v_prediction")
CONFIG = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
}


def config(prediction: str, spacing: str = "leading") -> dict[str, Any]:
    return {**CONFIG, "prediction_type": prediction, "timestep_spacing": spacing}


def outputs(steps: int, seed: int) -> torch.Tensor:
    return torch.randn(steps, *SIZE, generator=torch.Generator().manual_seed(seed))


def by_diffusers(sampler: str, settings_: dict[str, Any], steps: int, seed: int) -> torch.Tensor:
    """The latents after every step of diffusers' scheduler, given random model outputs."""
    kind, options = SCHEDULERS[sampler]
    scheduler = kind.from_config(settings_, **options)
    scheduler.set_timesteps(steps)
    noise = torch.Generator().manual_seed(seed)
    x: torch.Tensor = torch.randn(SIZE, generator=noise) * scheduler.init_noise_sigma
    extra = {"generator": noise} if sampler in STOCHASTIC else {}
    for t, m in zip(scheduler.timesteps, outputs(steps, seed), strict=True):
        scheduler.scale_model_input(x, t)
        x = scheduler.step(m, t, x, return_dict=False, **extra)[0]
    return x


def by_tables(tables: Tables, runs: list[tuple[str, int, int]]) -> list[torch.Tensor]:
    """The same for several ``(sampler, steps, seed)`` of one sampler in one batch, each at its own step."""
    loaded: list[Table] = [tables.get(sampler, steps) for sampler, steps, _ in runs]
    noises = [torch.Generator().manual_seed(seed) for *_, seed in runs]
    x = torch.cat([torch.randn(SIZE, generator=g) * t.init_sigma for g, t in zip(noises, loaded, strict=True)])
    sampler, history = runs[0][0], torch.zeros_like(x) if runs[0][0] in MULTISTEP else None
    final: dict[int, torch.Tensor] = {}
    for step in range(max(table.steps for table in loaded)):
        at = [min(step, table.steps - 1) for table in loaded]
        columns = torch.stack([table.values[:, i] for table, i in zip(loaded, at, strict=True)], dim=1)
        m = torch.cat([outputs(table.steps, seed)[i] for table, i, (*_, seed) in zip(loaded, at, runs, strict=True)])
        noise = torch.cat([torch.randn(SIZE, generator=g) for g in noises]) if sampler in STOCHASTIC else None
        c = columns.view(len(Row), len(runs), 1, 1, 1)
        x, history = advance(sampler, x, m, c, tables.prediction, history=history, noise=noise)
        for position, table in enumerate(loaded):
            if step == table.steps - 1:
                final[position] = x[position : position + 1]
    return [final[position] for position in range(len(runs))]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("sampler", sorted(SCHEDULERS))
@settings(deadline=None, max_examples=12)
@given(steps=st.integers(1, 30), seed=st.integers(0, 99), spacing=st.sampled_from(["leading", "trailing", "linspace"]))
def test_a_sample_alone_follows_diffusers(sampler: str, prediction: str, steps: int, seed: int, spacing: str) -> None:
    chosen = config(prediction, spacing)
    expected = by_diffusers(sampler, chosen, steps, seed)

    [found] = by_tables(Tables(chosen), [(sampler, steps, seed)])

    if sampler in ("ddim", "euler"):
        assert torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sampler", sorted(SCHEDULERS))
@settings(deadline=None, max_examples=6)
@given(steps=st.lists(st.integers(2, 20), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_samples_at_different_steps_do_not_see_each_other(sampler: str, steps: list[int], seed: int) -> None:
    tables = Tables(config("epsilon"))
    runs = [(sampler, count, seed + number) for number, count in enumerate(steps)]

    together = by_tables(tables, runs)

    for run, found in zip(runs, together, strict=True):
        assert torch.equal(found, by_tables(tables, [run])[0])


@pytest.mark.parametrize("sampler", sorted(SCHEDULERS))
def test_timesteps_are_those_of_diffusers_for_every_number_of_steps(sampler: str) -> None:
    for spacing in ("leading", "trailing", "linspace"):
        chosen = config("epsilon", spacing)
        kind, options = SCHEDULERS[sampler]
        scheduler = kind.from_config(chosen, **options)
        for steps in range(1, 51):
            scheduler.set_timesteps(steps)
            found = Tables(chosen).get(sampler, steps).values[Row.TIMESTEP]
            assert torch.equal(found, scheduler.timesteps.float())


@pytest.mark.parametrize(("sampler", "steps", "limit"), [("lcm", 51, "50"), ("ddim", 1001, "1000")])
def test_too_many_steps_are_refused_with_the_limit(sampler: str, steps: int, limit: str) -> None:
    with pytest.raises(InvalidJob, match=f"steps must be at most {limit}.*got {steps}"):
        Tables(config("epsilon")).get(sampler, steps)


def test_tables_are_kept() -> None:
    tables = Tables(config("epsilon"))
    assert tables.get("euler", 20) is tables.get("euler", 20)
