"""What an engine may use: values that its owner decides, fixed for its life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits of one engine.

    ``capacity`` caps the images it holds in any phase, ``max_rows`` the UNet rows of one call (0: no cap of its
    own; the plan's batch cap and memory still hold). ``decode_queue_bytes`` bounds the images that wait for
    their pixels, counted as decoded float32; past it nothing is admitted. ``embedding_cache`` counts texts.
    ``long_prompts`` decides about prompts over the encoder's length: an error, or chunks of it joined.
    ``prompt_weights`` is the syntax in which a prompt may weigh its words; ``off``: all of it is text.
    ``unet_rows``: ``padded`` pads UNet calls to a few numbers of rows, ``compiled`` compiles these (on CUDA into
    graphs) for images of the model's own size; calls with an ``exact`` image stay plain, so ``fast`` images beside it
    differ by rounding from those without.
    ``preview_s`` is the shortest time between two previews, in seconds; 0: none are made.
    A job's latents are kept every ``keep_steps`` steps; 0 chooses by the cost, so that a job has at least ``keep_s``
    seconds of work to lose, and keeps nothing with 0 seconds. ``keep_bytes`` is the most for one job.
    ``float_images`` makes events carry float32 pixels in [0, 1] instead of uint8.
    """

    capacity: int = 16
    max_rows: int = 0
    decode_queue_bytes: int = 512 * 2**20
    embedding_cache: int = 256
    long_prompts: Literal["refuse", "chunk"] = "refuse"
    prompt_weights: Literal["off", "compel"] = "off"
    executor: Literal["auto", "serial", "threads", "streams"] = "auto"
    unet_rows: Literal["any", "padded", "compiled"] = "any"
    preview_s: float = 0.0
    keep_steps: int = 0
    keep_s: float = 0.0
    keep_bytes: int = 4 * 2**20
    float_images: bool = False
