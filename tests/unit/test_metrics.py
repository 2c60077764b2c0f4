"""PSNR, SSIM and the perceptual distance: identity, symmetry, order, and SSIM against a plain computation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synerdiff.engine.metrics import MAX_PSNR, perceptual, psnr, ssim


def image(seed: int, n: int = 1) -> torch.Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_an_image_is_at_no_distance_from_itself(seed: int) -> None:
    a = image(seed)
    assert psnr(a, a).item() == MAX_PSNR
    assert ssim(a, a).item() == pytest.approx(1.0, abs=1e-5)
    assert perceptual(a, a).item() == pytest.approx(0.0, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1001, 2000))
def test_they_are_symmetric_and_bounded(first: int, second: int) -> None:
    a, b = image(first), image(second)
    for measure in (psnr, ssim, perceptual):
        torch.testing.assert_close(measure(a, b), measure(b, a), rtol=1e-4, atol=1e-5)
    assert ssim(a, b).item() < 1
    assert 0 < perceptual(a, b).item() < 2


def test_more_noise_is_further_away() -> None:
    a, noise = image(0) * 0.5 + 0.25, image(1) - 0.5
    near, far = a + 0.05 * noise, a + 0.4 * noise
    assert psnr(a, near) > psnr(a, far)
    assert ssim(a, near) > ssim(a, far)
    assert perceptual(a, near) < perceptual(a, far)


def test_each_image_of_a_batch_is_measured_alone() -> None:
    a, b = image(0, n=3), image(1, n=3)
    for measure in (psnr, ssim, perceptual):
        whole = measure(a, b)
        torch.testing.assert_close(whole[1], measure(a[1:2], b[1:2])[0])


def test_psnr_of_a_known_error() -> None:
    a = torch.zeros(1, 3, 16, 16)
    assert psnr(a, a + 0.1).item() == pytest.approx(20.0, abs=1e-4)


def test_ssim_is_its_definition_at_one_window() -> None:
    a, b = image(3)[..., :11, :11].double(), image(4)[..., :11, :11].double()
    x = torch.arange(11, dtype=torch.float64) - 5
    w = torch.exp(-x.square() / 4.5)
    weights = torch.outer(w, w) / w.sum() ** 2
    expected = []
    for channel in range(3):
        p, q = a[0, channel], b[0, channel]
        mp, mq = (weights * p).sum(), (weights * q).sum()
        vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
        cov = (weights * (p - mp) * (q - mq)).sum()
        expected.append((2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    torch.testing.assert_close(ssim(a, b)[0], torch.stack(expected).mean())
