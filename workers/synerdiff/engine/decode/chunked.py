"""A decode that runs a few chunks at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .granularity import DecodePlan, decode_plan
from .image import to_image
from .kernels import PLAIN, Kernels
from .operation import DecodeState, size_of


class ChunkedDecode:
    """One image's decode, resumable between chunks and safe to drop at any time.

    It runs on the current CUDA stream and never waits for the device. Its chunks must run in one stream, or in streams
    that wait for each other.

    Args:
        vae: a diffusers ``AutoencoderKL`` in evaluation mode.
        latents: unscaled latents ``[1, C, h, w]`` (divided by the scaling factor); they are not changed.
        granularity: one of ``GRANULARITIES``.
        kernels: how its convolutions are run.

    Raises:
        ModelError: the VAE is no AutoencoderKL.
        ValueError: the granularity or the latents' shape is wrong.
    """

    def __init__(self, vae: Any, latents: Tensor, granularity: str, kernels: Kernels = PLAIN) -> None:
        if latents.ndim != 4 or latents.shape[0] != 1:
            raise ValueError(f"latents: one image is decoded at a time, [1, C, h, w], not {list(latents.shape)}.")
        self._plan = decode_plan(vae, latents.shape[2], latents.shape[3], granularity, kernels)
        # diffusers' own vae.dtype walks through every module
        dtype = next(vae.parameters()).dtype
        self._itemsize: int = dtype.itemsize
        self._state: DecodeState | None = DecodeState(latents.to(dtype))
        self._next = 0
        self._image: Tensor | None = None

    @property
    def plan(self) -> DecodePlan:
        """How this decode is cut."""
        return self._plan

    @property
    def chunks(self) -> int:
        """How many chunks it has."""
        return len(self._plan.chunks)

    @property
    def remaining(self) -> int:
        """Chunks still to run."""
        return self.chunks - self._next

    @property
    def remaining_cost(self) -> float:
        """Share of the decode's estimated cost still to run, in [0, 1]."""
        return sum(chunk.cost for chunk in self._plan.chunks[self._next :])

    @property
    def done(self) -> bool:
        """Whether the image is there."""
        return self.remaining == 0

    @property
    def held_bytes(self) -> int:
        """Bytes of device memory it holds now."""
        if self._state is None:
            return 0 if self._image is None else size_of(self._image)
        return self._state.held_bytes

    @property
    def max_held_bytes(self) -> int:
        """The most bytes it holds between two chunks."""
        return self._plan.held_elements * self._itemsize

    def run(self, chunks: int = 1) -> int:
        """Run up to ``chunks`` chunks and return how many ran. After an error the decode must be dropped."""
        count = min(chunks, self.remaining)
        with torch.inference_mode():
            for _ in range(count):
                self._run_one()
        return count

    def _run_one(self) -> None:
        if self._state is None:
            raise RuntimeError("This decode was dropped, or one of its chunks failed.")
        state, self._state = self._state, None
        for step in self._plan.chunks[self._next].steps:
            step(state)
        self._next += 1
        if self.done:
            self._image = to_image(state.x)
        else:
            self._state = state

    def drop(self) -> None:
        """Free what it holds; it cannot go on."""
        self._state = self._image = None

    def result(self) -> Tensor:
        """Return the image, float32 ``[3, H, W]`` in [0, 1], on the VAE's device.

        Raises:
            RuntimeError: the decode is not done, or was dropped.
        """
        if self._image is None:
            raise RuntimeError(f"The decode has no image: {self.remaining} of {self.chunks} chunks are left.")
        return self._image


def decode_chunks(vae: Any, latents: Tensor, granularity: str, kernels: Kernels = PLAIN) -> ChunkedDecode:
    """Start a decode of one image's unscaled latents ``[1, C, h, w]``."""
    return ChunkedDecode(vae, latents, granularity, kernels)
