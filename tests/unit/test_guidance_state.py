"""Skip-CFG: full steps are the pipeline's arithmetic, skipped ones predict, and a replay does as it did."""

from __future__ import annotations

import pytest
import torch

from synerdiff.engine.calibration import Calibration, Limits, default_calibration
from synerdiff.engine.guidance import Guidance, GuidanceState
from synerdiff.engine.samplers import V_PREDICTION
from synerdiff.engine.schedule import Table, Tables

CONFIG = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": V_PREDICTION,
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
LIMITS = Limits(tolerance=float("inf"), longest=2, warm_up=2)
ALWAYS = Calibration(classes={"balanced": LIMITS, "fast": LIMITS})


def table(sampler: str = "ddim", steps: int = 12) -> Table:
    return Tables(CONFIG).get(sampler, steps)


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def run(guidance: Guidance, state: GuidanceState, steps: int, allowed: bool = True) -> list[torch.Tensor]:
    """Predictions that move linearly in log-SNR, so that an extrapolation can be exact."""
    base, slope, outputs = rows(1, 4, 2, 2), rows(1, 4, 2, 2, seed=1), []
    for step in range(steps):
        lam, alpha = state.path.lam[step], state.path.alpha[step]
        cond = rows(1, 4, 2, 2, seed=step + 2)
        uncond = cond - (base + lam * slope) / alpha
        ran = not guidance.skips(state, allowed)
        outputs.append(guidance.combine(cond, uncond if ran else uncond[:0], [state], [ran]))
    return outputs


def test_full_steps_are_bitwise_the_pipelines_arithmetic() -> None:
    guidance = Guidance(ALWAYS, V_PREDICTION)
    scales = [3.3, 7.5, 5.0]
    states = [guidance.begin(table(), scale, "balanced") for scale in scales]
    cond, uncond = rows(3, 4, 8, 8), rows(3, 4, 8, 8, seed=1)

    guided = guidance.combine(cond, uncond, states, [True] * 3)

    for i, scale in enumerate(scales):
        assert torch.equal(guided[i], uncond[i] + scale * (cond[i] - uncond[i]))


def test_exact_never_skips_and_keeps_nothing() -> None:
    guidance = Guidance(ALWAYS, V_PREDICTION)
    state = guidance.begin(table(), 5.0, "exact")
    run(guidance, state, 12)
    assert state.skipped == []


def test_balanced_waits_for_the_allowance_and_fast_does_not() -> None:
    guidance = Guidance(ALWAYS, V_PREDICTION)
    for quality, skipped in (("balanced", []), ("fast", [2, 3, 5, 6, 8, 9, 11])):
        state = guidance.begin(table(), 5.0, quality)
        run(guidance, state, 12, allowed=False)
        assert state.skipped == skipped


def test_a_replay_repeats_the_steps_and_the_bits_at_any_allowance() -> None:
    guidance = Guidance(ALWAYS, V_PREDICTION)
    first = guidance.begin(table(), 5.0, "balanced")
    outputs = run(guidance, first, 12)
    again = guidance.begin(table(), 5.0, "balanced", replay=first.skipped)
    repeated = run(guidance, again, 12, allowed=False)
    assert again.skipped == first.skipped != []
    assert all(torch.equal(a, b) for a, b in zip(outputs, repeated, strict=True))


def test_a_row_does_not_depend_on_its_batch_mates() -> None:
    guidance = Guidance(ALWAYS, V_PREDICTION)
    alone, mixed = guidance.begin(table(), 5.0, "fast"), guidance.begin(table(), 5.0, "fast")
    mate = guidance.begin(table("euler", 20), 7.5, "exact")
    for step in range(6):
        cond, uncond = rows(2, 4, 2, 2, seed=step), rows(2, 4, 2, 2, seed=step + 100)
        ran = not guidance.skips(alone, True)
        one = guidance.combine(cond[:1], uncond[:1] if ran else uncond[:0], [alone], [ran])
        both = guidance.combine(cond, uncond if ran else uncond[1:], [mixed, mate], [ran, True])
        assert torch.equal(one[0], both[0])
    assert mixed.skipped == alone.skipped


def test_a_difference_that_moves_evenly_is_extrapolated_exactly() -> None:
    calibration = Calibration(classes={"fast": Limits(float("inf"), 1, warm_up=2)}, extrapolation=((0.0, 1.0),))
    guidance, exact = Guidance(calibration, V_PREDICTION), Guidance(ALWAYS, V_PREDICTION)
    skipping, full = guidance.begin(table(), 5.0, "fast"), exact.begin(table(), 5.0, "exact")
    a, b = run(guidance, skipping, 3), run(exact, full, 3)
    assert skipping.skipped == [2]
    ahead = skipping.path.lam[2] - skipping.path.lam[1]
    assert ahead <= skipping.path.lam[1] - skipping.path.lam[0]
    torch.testing.assert_close(a[2], b[2], rtol=1e-4, atol=1e-4)


def test_the_first_step_runs_whatever_a_replay_says() -> None:
    guidance = Guidance(ALWAYS, V_PREDICTION)
    assert not guidance.skips(guidance.begin(table(), 5.0, "fast", replay=(0, 1)), allowed=True)


@pytest.mark.parametrize("sampler", ["euler_a", "lcm"])
def test_defaults_never_skip_where_fresh_noise_enters(sampler: str) -> None:
    guidance = Guidance(default_calibration(), V_PREDICTION)
    state = guidance.begin(table(sampler, 20), 5.0, "fast")
    run(guidance, state, 20)
    assert state.skipped == []


def test_defaults_skip_at_most_every_other_step() -> None:
    guidance = Guidance(default_calibration(), "epsilon")
    state = guidance.begin(table("dpmpp_2m", 25), 5.0, "fast")
    run(guidance, state, 25)
    assert state.skipped == [3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23]


def test_a_tensor_free_copy_of_the_state_is_small() -> None:
    guidance = Guidance(ALWAYS, V_PREDICTION)
    state = guidance.begin(table(), 5.0, "fast")
    run(guidance, state, 4)
    assert state.last is not None
    assert state.before is not None
    assert state.last.shape == state.before.shape == (4, 2, 2)
