"""The decode queue: images that wait for their pixels, worked off a few chunks at a time, the oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from synerdiff.engine.decode import Granularity, decode_chunks, decode_in_float32
from synerdiff.engine.decode.chunked import ChunkedDecode
from synerdiff.engine.executors import to_device
from synerdiff.engine.memory import is_out_of_memory, release_cached
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.sample import Sample
from synerdiff.policy import Action, PlanTable
from synerdiff.protocol.errors import EngineError, NonFiniteImage, OutOfMemory

_BYTES_PER_PIXEL = 3 * 4


@dataclass(slots=True, eq=False)
class Waiting:
    """One denoised image: its decode starts with its first chunk, in the granularity planned then."""

    sample: Sample
    decode: ChunkedDecode | None = None
    error: EngineError | None = None
    finest: bool = False

    @property
    def bytes(self) -> int:
        """Size of its pixels as float32."""
        return self.sample.request.width * self.sample.request.height * _BYTES_PER_PIXEL

    @property
    def share_left(self) -> float:
        """Share of its decode still to do."""
        return 1.0 if self.decode is None else self.decode.remaining_cost

    @property
    def image(self) -> Tensor:
        """The pixels of its finished decode, float32 ``[3, H, W]``. Raises the error that it was given up with."""
        if self.error is not None:
            raise self.error
        assert self.decode is not None
        return self.decode.result()

    @property
    def done(self) -> bool:
        """Whether it leaves the queue: decoded, or given up."""
        return self.error is not None or (self.decode is not None and self.decode.done)


class DecodeQueue:
    """Denoised images in the order in which they finished denoising."""

    def __init__(self, model: LoadedModel, clock: Callable[[], float]) -> None:
        self._model = model
        self._clock = clock
        self._queue: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def bytes(self) -> int:
        """Bytes of the pixels that are waited for."""
        return sum(waiting.bytes for waiting in self._queue)

    def all_fit(self, fits: Callable[[int, int], bool]) -> bool:
        """Whether ``fits(width, height)`` holds for every image that waits."""
        return all(fits(waiting.sample.request.width, waiting.sample.request.height) for waiting in self._queue)

    def holds(self, job_id: str) -> bool:
        """Whether an image of the job waits here."""
        return any(waiting.sample.job_id == job_id for waiting in self._queue)

    def push(self, sample: Sample) -> None:
        """Queue a sample whose last denoising step is done."""
        self._queue.append(Waiting(sample))

    def remove(self, leaves: Callable[[Sample], bool]) -> None:
        """Drop the decodes of samples for which ``leaves`` is true."""
        for waiting in self._queue:
            if leaves(waiting.sample) and waiting.decode is not None:
                waiting.decode.drop()
        self._queue = deque(waiting for waiting in self._queue if not leaves(waiting.sample))

    def chunks_left(self, table: PlanTable) -> int:
        """What is still to decode, in the table's chunks."""
        if not self._queue:
            return 0
        head = table.chunks_left(self._queue[0].share_left)
        return head + (len(self._queue) - 1) * table.chunks_per_decode

    def work(self, action: Action, table: PlanTable) -> list[Callable[[], int]]:
        """The decode work of one slot: a call for each image it touches, to be made in order.

        Each returns the number of chunks that ran.
        """
        share = action.chunks / table.chunks_per_decode
        calls: list[Callable[[], int]] = []
        for waiting in self._queue:
            if share <= 1e-9:
                break
            part = min(share, waiting.share_left)
            calls.append(partial(self._run, waiting, part, action.granularity))
            share -= part
        return calls

    def pop_done(self) -> list[Waiting]:
        """Take out the images that are decoded or given up."""
        done = [waiting for waiting in self._queue if waiting.done]
        if done:
            self._queue = deque(waiting for waiting in self._queue if not waiting.done)
        return done

    def _run(self, waiting: Waiting, share: float, granularity: str) -> int:
        """Run chunks until ``share`` of the decode is done; out of memory it starts over in the finest pieces."""
        try:
            if waiting.decode is None:
                waiting.sample.decode_started_at = self._clock()
                cut = Granularity.STRIPS if waiting.finest else granularity
                kernels = self._model.kernels(waiting.sample.request.quality)
                waiting.decode = decode_chunks(self._model.vae, self._latents(waiting.sample), cut, kernels)
            return _run_share(waiting.decode, share)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if waiting.finest:
                size = f"{waiting.sample.request.width}x{waiting.sample.request.height}"
                waiting.error = OutOfMemory(f"decoding one {size} image does not fit in the memory of the device")
            waiting.decode, waiting.finest = None, True
            release_cached()
            return 0

    def _latents(self, sample: Sample) -> Tensor:
        return unscale(sample.latents[None].to(self._model.vae_dtype), self._model.vae.config)

    def image_in_float32(self, waiting: Waiting) -> Tensor:
        """The pixels of an image that was not finite, decoded once more in float32.

        Raises :class:`NonFiniteImage`.
        """
        if self._model.vae_dtype != torch.float32:
            image = decode_in_float32(self._model.vae, self._latents(waiting.sample))
            if _finite(image):
                return image
        raise NonFiniteImage("the decoded image has values that are not finite, in single precision too")


def unscale(latents: Tensor, config: object) -> Tensor:
    """Undo the scaling of latents ``[1, C, h, w]`` before a decode, as the pipelines do."""
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    scaling: float = config.scaling_factor  # type: ignore[attr-defined]
    if mean is None or std is None:
        return latents / scaling
    scale, shift = (_channels(tuple(values), latents.dtype, latents.device) for values in (std, mean))
    return latents * scale / scaling + shift


@lru_cache(maxsize=16)
def _channels(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return to_device(torch.tensor(values, dtype=dtype).view(1, -1, 1, 1), device)


def _run_share(decode: ChunkedDecode, share: float) -> int:
    target = decode.remaining_cost - share
    ran = 0
    while not decode.done and (ran == 0 or decode.remaining_cost > target + 1e-9):
        ran += decode.run(1)
    return ran


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
