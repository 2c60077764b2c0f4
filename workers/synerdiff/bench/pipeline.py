"""The baselines: the plain diffusers pipeline, one job after another or in batches of jobs that agree.

Both get what the engine gets: the same modules, threads, memory format and precision, and a cache of embeddings.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
)

from synerdiff.bench.clock import Arrivals
from synerdiff.bench.outcome import CallCounter, JobOutcome, Run
from synerdiff.bench.workload import Arrival
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.types import Pixels, Request

SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "lcm": (LCMScheduler, {}),
}


@dataclass(frozen=True, slots=True)
class Batching:
    """How jobs are grouped: at most ``cap`` images a batch, waiting ``window_s`` for company."""

    cap: int = 1
    window_s: float = 0.0


def agrees(one: Request, other: Request) -> bool:
    """Whether the plain pipeline can run both jobs in one call."""
    return _key(one) == _key(other)


def _key(request: Request) -> tuple[Any, ...]:
    return (request.steps, request.sampler, request.guidance_scale, request.width, request.height)


class Pipeline:
    """The plain pipeline over a loaded model's own modules, with a cache of embeddings.

    Where the UNet's precision is not the VAE's, which the pipeline knows nothing of, latents are float32 as the
    engine's are, and the UNet alone computes in its own.
    """

    def __init__(self, model: LoadedModel, path: Path) -> None:
        self._noise_dtype = None if model.dtype == model.vae_dtype else model.noise_dtype
        self.pipe: Any = StableDiffusionPipeline.from_pretrained(  # type: ignore[no-untyped-call]
            path,
            unet=model.unet if self._noise_dtype is None else _taking_float32(model.unet),
            vae=model.vae,
            text_encoder=model.text_encoders[0],
            tokenizer=model.tokenizers[0],
            safety_checker=None,
            requires_safety_checker=False,
        )
        self.pipe.set_progress_bar_config(disable=True)
        self._config = self.pipe.scheduler.config
        self._embeddings: dict[str, torch.Tensor] = {}

    def _embed(self, text: str) -> torch.Tensor:
        if text not in self._embeddings:
            self._embeddings[text] = self.pipe.encode_prompt(text, self.pipe.device, 1, False)[0]
        return self._embeddings[text]

    def generate(self, batch: Sequence[Request]) -> tuple[list[list[Pixels]], float]:
        """Make every image of jobs that agree in one call.

        Returns the pixels by job and the moment (``time.perf_counter``) the last denoising step ended.
        """
        images, stepped = self.images(batch)
        pixels = list((images * 255).round().astype(np.uint8))
        found, start = [], 0
        for request in batch:
            found.append(pixels[start : start + request.n])
            start += request.n
        return found, stepped

    @torch.inference_mode()
    def images(self, batch: Sequence[Request]) -> tuple[npt.NDArray[np.float32], float]:
        """As :meth:`generate`, with all images as ``[N, H, W, 3]`` in [0, 1]."""
        first = batch[0]
        kind, options = SCHEDULERS[first.sampler]
        self.pipe.scheduler = kind.from_config(self._config, **options)
        seeds = [request.seed + index for request in batch for index in range(request.n)]
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        stepped = 0.0

        def ended(_pipe: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            nonlocal stepped
            stepped = time.perf_counter()
            return tensors

        guided = first.guidance_scale > 1
        repeated = [request for request in batch for _ in range(request.n)]
        images: npt.NDArray[np.float32] = self.pipe(
            prompt_embeds=torch.cat([self._embed(request.prompt) for request in repeated]),
            negative_prompt_embeds=torch.cat([self._embed(r.negative_prompt) for r in repeated]) if guided else None,
            latents=self._latents(first, generators),
            generator=generators,
            num_inference_steps=first.steps,
            guidance_scale=first.guidance_scale,
            width=first.width,
            height=first.height,
            output_type="np",
            callback_on_step_end=ended,
        ).images
        return images, stepped

    def _latents(self, like: Request, generators: Sequence[torch.Generator]) -> torch.Tensor | None:
        """The noise that the engine draws, as float32 latents; None: the pipeline draws for itself."""
        if self._noise_dtype is None:
            return None
        scale: int = self.pipe.vae_scale_factor
        size = (1, self.pipe.unet.config.in_channels, like.height // scale, like.width // scale)
        drawn = [torch.randn(size, generator=generator, dtype=self._noise_dtype) for generator in generators]
        return torch.cat(drawn).float().to(self.pipe.device)


def _taking_float32(unet: torch.nn.Module) -> torch.nn.Module:
    """A copy that shares a UNet's parameters: float32 in and out, its own precision inside."""
    twin = copy.deepcopy(unet, {id(tensor): tensor for tensor in (*unet.parameters(), *unet.buffers())})
    dtype = next(unet.parameters()).dtype
    twin.register_forward_pre_hook(lambda _, args: (args[0].to(dtype), *args[1:]))
    twin.register_forward_hook(lambda _, __, output: (output[0].float(), *output[1:]))
    return twin


def next_batch(waiting: Sequence[Request], cap: int) -> list[Request]:
    """The oldest job and those behind it that agree with it, up to ``cap`` images (never less than one job)."""
    chosen = [waiting[0]]
    images = waiting[0].n
    for request in waiting[1:]:
        if agrees(request, waiting[0]) and images + request.n <= cap:
            chosen.append(request)
            images += request.n
    return chosen


def run_static(policy: str, pipeline: Pipeline, trace: Sequence[Arrival], batching: Batching) -> Run:
    """Run a trace through the plain pipeline in batches; a cap of one image is the plain pipeline alone."""
    run = Run(policy=policy, jobs={item.request.job_id: JobOutcome(item.request.job_id, item.at) for item in trace})
    arrivals = Arrivals(trace)
    waiting: list[Request] = []
    cpu = time.process_time()
    with CallCounter(pipeline.pipe.unet, run):
        while waiting or not arrivals.over:
            waiting += arrivals.arrived()
            if not waiting:
                arrivals.wait_for_next()
                continue
            _await_company(arrivals, waiting, batching)
            batch = next_batch(waiting, batching.cap)
            waiting = [request for request in waiting if request not in batch]
            images, stepped = pipeline.generate(batch)
            _record(run, batch, images, arrivals.now(), arrivals.since(stepped))
    run.wall_s, run.cpu_s = arrivals.now(), time.process_time() - cpu
    return run


def _await_company(arrivals: Arrivals, waiting: list[Request], batching: Batching) -> None:
    """Hold a batch that is not full until its window closes, as a serving front end would."""
    closes = arrivals.at_of(waiting[0]) + batching.window_s
    while sum(r.n for r in next_batch(waiting, batching.cap)) < batching.cap and not arrivals.over:
        if not arrivals.wait_for_next(until=closes):
            return
        waiting += arrivals.arrived()


def _record(run: Run, batch: Sequence[Request], images: Sequence[list[Pixels]], now: float, stepped: float) -> None:
    for request, pixels in zip(batch, images, strict=True):
        job = run.jobs[request.job_id]
        job.images = dict(enumerate(pixels))
        job.done_s = now
        job.vae_s = [now - stepped] * len(pixels)
    size = sum(len(pixels) for pixels in images)
    height, width = images[0][0].shape[:2]
    run.decodes[size, height, width] += 1
