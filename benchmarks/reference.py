"""The reference: what diffusers' own pipeline makes of the same request, one image at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)
from diffusers.utils import logging

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.types import ImageReady, JobFailed, Request

Image = npt.NDArray[np.float32]

SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "lcm": (LCMScheduler, {}),
}


class Reference:
    """A diffusers pipeline that answers engine requests."""

    def __init__(self, path: Path) -> None:
        logging.disable_progress_bar()
        kind: Any = DiffusionPipeline
        self.pipeline: Any = kind.from_pretrained(str(path), local_files_only=True)
        self.pipeline.set_progress_bar_config(disable=True)
        self._config = self.pipeline.scheduler.config

    def image(self, request: Request, index: int = 0) -> Image:
        """Image ``index`` of a request, float32 ``[H, W, 3]`` in [0, 1]."""
        scheduler, options = SCHEDULERS[request.sampler]
        self.pipeline.scheduler = scheduler.from_config(self._config, **options)
        output = self.pipeline(
            request.prompt,
            negative_prompt=request.negative_prompt or None,
            height=request.height,
            width=request.width,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed + index),
            output_type="np",
        )
        image: Image = output.images[0]
        return image


def engine_images(model: LoadedModel, requests: list[Request], config: EngineConfig) -> dict[tuple[str, int], Image]:
    """Run requests through one engine; the images in float32 by job and index.

    Raises :class:`RuntimeError` when a job fails.
    """
    engine = Engine(model, config)
    for request in requests:
        engine.admit(request)
    images: dict[tuple[str, int], Image] = {}
    while not engine.idle:
        for event in engine.step():
            if isinstance(event, JobFailed):
                raise RuntimeError(f"{event.job_id}: {event.error.message}")
            if isinstance(event, ImageReady):
                images[event.job_id, event.index] = event.pixels  # type: ignore[assignment]
    return images
