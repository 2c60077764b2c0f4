"""What goes into the engine (requests) and what comes out of it (events): plain values, safe to pickle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synerdiff.protocol.errors import ErrorInfo

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Request:
    """One job as the engine needs it; image ``i`` of ``n`` is made from seed ``seed + i``.

    ``width`` and ``height`` are in pixels. ``priority`` 9 is admitted before 0. ``replay`` holds, for each
    image, the denoising steps (from 0) that must skip the unconditional pass, to repeat an image exactly.
    """

    job_id: str
    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    sampler: str
    seed: int
    n: int
    quality: str
    priority: int = 5
    replay: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class ImageTimings:
    """Where one image's time went, in seconds."""

    encode: float
    denoise: float
    decode_wait: float
    decode: float


@dataclass(frozen=True, slots=True)
class ImageReceipt:
    """How one image was made.

    ``rows_run`` and ``rows_skipped`` count its own UNet rows, ``rows_per_call`` is the mean number of rows in
    the UNet calls it took part in, ``skipped_steps`` lists the steps (from 0) that skipped the unconditional
    pass, ``chunks`` counts the pieces its decode was cut into, ``text_chunks`` the text encoder's lengths that its
    prompts took.
    """

    rows_run: int
    rows_skipped: int
    rows_per_call: float
    skipped_steps: tuple[int, ...]
    chunks: int
    plan_version: int
    text_chunks: int = 1


@dataclass(frozen=True, slots=True)
class Admitted:
    """The job's images joined the batch; ``encode_s`` is the time its text encoding took.

    ``resumed`` is the step that its images went on from, the least of those a checkpoint had; 0 from the start.
    """

    job_id: str
    encode_s: float
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class SetAside:
    """An image of the job left the batch for a more urgent job; it goes on later by itself."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Waits:
    """No image of the job is being made now, and the rest of them wait for a place."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A latent checkpoint of the job after ``steps`` denoising steps, counted over all its images."""

    job_id: str
    steps: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Parted:
    """The engine gave the job up, as it was told to; nothing is kept where nothing was done."""

    job_id: str
    kept: Snapshot | None


@dataclass(frozen=True, slots=True)
class Stepped:
    """Images of the job have stepped; its slowest one has finished ``step`` of ``steps`` denoising steps."""

    job_id: str
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Previewed:
    """What the job's images look like at this step: ``images`` is by index, ``[height, width, 3]``, small."""

    job_id: str
    step: int
    steps: int
    images: dict[int, Pixels]


@dataclass(frozen=True, slots=True)
class ImageReady:
    """One image is decoded; ``pixels`` is ``[height, width, 3]``."""

    job_id: str
    index: int
    seed: int
    pixels: Pixels
    timings: ImageTimings
    receipt: ImageReceipt


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The job cannot be finished; its other images are dropped and no further event names it."""

    job_id: str
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class SlotReport:
    """One slot as it was planned and as it went, times in seconds.

    ``active`` samples are being denoised and ``waiting`` images are still to be decoded after the slot.
    ``predicted_s`` is 0 where no profile tells. Where the device is not waited for, ``predicted_s``, ``measured_s``,
    ``unet_s`` and ``vae_s`` are those of an earlier slot. ``skipped`` unconditional rows were left out, and the call
    was cut in two ``splits`` times because it did not fit in memory.
    """

    predicted_s: float
    measured_s: float
    rows: int
    chunks: int
    active: int
    waiting: int
    unet_s: float
    vae_s: float
    skipped: int = 0
    splits: int = 0


Event = Admitted | Stepped | Previewed | SetAside | Waits | Snapshot | Parted | ImageReady | JobFailed | SlotReport
