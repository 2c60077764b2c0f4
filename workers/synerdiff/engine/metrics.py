"""How far one image is from another: PSNR, SSIM and a perceptual distance that needs no weights.

Images are ``[N, 3, H, W]`` float in [0, 1]; each function returns ``[N]``.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_PSNR = 100.0
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_SCALES = 3
_GRADIENT_C = 0.0026  # GMSD's constant (170 on the 0..255 scale) for gradients of [0, 1] images


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, over pixels and channels; at most :data:`MAX_PSNR`."""
    mean_square = (a - b).square().mean(dim=(1, 2, 3))
    return (-10.0 * mean_square.clamp(min=1e-12).log10()).clamp(max=MAX_PSNR)


@lru_cache(maxsize=4)
def _gaussian(dtype: torch.dtype, device: torch.device) -> Tensor:
    x = torch.arange(_WINDOW, dtype=dtype, device=device) - _WINDOW // 2
    window = torch.exp(-x.square() / (2 * _SIGMA**2))
    window = window / window.sum()
    return (window[:, None] * window).expand(3, 1, -1, -1).contiguous()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), 1 for equal images.

    Gaussian window 11x11 of sigma 1.5, K1 = 0.01, K2 = 0.03, each RGB channel alone, mean over channels and the
    valid positions of the window (no padding); sides must be at least 11 pixels.
    """
    window = _gaussian(a.dtype, a.device)

    def blur(image: Tensor) -> Tensor:
        return F.conv2d(image, window, groups=3)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (var_a + var_b + _C2)
    return (luminance * structure).mean(dim=(1, 2, 3))


@lru_cache(maxsize=4)
def _prewitt(dtype: torch.dtype, device: torch.device) -> Tensor:
    x = torch.tensor([[1.0, 0.0, -1.0]] * 3, dtype=dtype, device=device) / 3
    return torch.stack([x, x.T])[:, None]


def _gradient(image: Tensor) -> Tensor:
    """Gradient magnitude of each channel as an image of its own."""
    planes = image.reshape(-1, 1, *image.shape[2:])
    gradient = F.conv2d(planes, _prewitt(image.dtype, image.device)).square().sum(dim=1)
    return (gradient + 1e-12).sqrt().reshape(image.shape[0], 3, *gradient.shape[1:])


def perceptual(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale gradient distance: 0 for equal images, larger is worse; it sees edges and texture, not tone.

    At three scales (each half the last, by 2x2 means) the gradient magnitudes (Prewitt, each RGB channel) are
    compared as in GMSD (Xue et al. 2014): s = (2 ga gb + c) / (ga^2 + gb^2 + c), c = 0.0026. A scale's
    distance is the mean of 1 - s over pixels and channels plus the standard deviation of s over them; the
    result is the mean of the scales. No weights are learnt, so it needs no download; it is not LPIPS.
    """
    distances = []
    for scale in range(_SCALES):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        ga, gb = _gradient(a), _gradient(b)
        similarity = ((2 * ga * gb + _GRADIENT_C) / (ga**2 + gb**2 + _GRADIENT_C)).flatten(1)
        distances.append((1 - similarity).mean(dim=1) + similarity.std(dim=1, correction=0))
    return torch.stack(distances).mean(dim=0)
