"""The engine beside the real diffusers pipeline, on the shipped model and on a random checkpoint of each family."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline

from benchmarks.checkpoints import make_checkpoint
from benchmarks.reference import Image, Reference, engine_images
from synerdiff.bench.pipeline import Pipeline
from synerdiff.engine import metrics
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.lean import LeanUNet
from synerdiff.engine.model import LoadedModel, load_model, shipped_path
from synerdiff.engine.precision import has_bfloat16
from synerdiff.engine.profiler import Setup, apply_setup
from synerdiff.engine.types import Request
from synerdiff.protocol.job import SAMPLERS
from tests.engines import request

CONFIG = EngineConfig(capacity=32, float_images=True)
BITWISE = ("ddim", "euler")
ALONE, MIXED = 1e-5, 1e-4
NEAR = 0.999  # worst SSIM of bfloat16 to float32; measured 0.9998


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Pair:
    """One checkpoint in the engine and in the pipeline."""

    def __init__(self, path: Path) -> None:
        self.model: LoadedModel = load_model(path, device="cpu")
        self._reference = Reference(path)
        self._images: dict[tuple[Request, int], Image] = {}

    def expected(self, wanted: Request, index: int = 0) -> Image:
        if (wanted, index) not in self._images:
            self._images[wanted, index] = self._reference.image(wanted, index)
        return self._images[wanted, index]

    def difference(self, requests: list[Request]) -> dict[str, float]:
        found = engine_images(self.model, requests, CONFIG)
        return {
            item.job_id: max(
                float(np.abs(found[item.job_id, index] - self.expected(item, index)).max()) for index in range(item.n)
            )
            for item in requests
        }


@cache
def shipped() -> Pair:
    return Pair(shipped_path())


@cache
def random_pair(family: str, prediction: str) -> Pair:
    with TemporaryDirectory() as folder:
        return Pair(make_checkpoint(Path(folder), family, prediction=prediction))


def emoji(job_id: str = "job", **fields: Any) -> Request:
    given: dict[str, Any] = {"width": 128, "height": 128, "steps": 4, "guidance_scale": 3.0}
    return request(job_id, **{**given, **fields})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_image_alone_equals_the_pipelines(sampler: str) -> None:
    difference = shipped().difference([emoji(sampler=sampler)])["job"]
    assert difference <= (0.0 if sampler in BITWISE else ALONE)


@pytest.mark.parametrize("fields", [{"guidance_scale": 1.0}, {"negative_prompt": "a blue cat"}, {"width": 192}])
def test_guidance_off_negative_prompts_and_sizes_alone(fields: dict[str, Any]) -> None:
    assert shipped().difference([emoji(**fields)]) == {"job": 0.0}


def test_a_mixed_batch_stays_close_to_the_pipeline() -> None:
    differences = shipped().difference(
        [
            emoji("ddim", n=2),
            emoji("euler", sampler="euler", steps=6, prompt="a penguin in the snow", seed=3),
            emoji("one-row", sampler="dpmpp_2m", guidance_scale=1.0, steps=5),
            emoji("karras", sampler="dpmpp_2m_karras", guidance_scale=7.5, negative_prompt="a cat", seed=11),
            emoji("noisy", sampler="euler_a", steps=3, seed=5),
            emoji("wide", width=192, height=64, steps=4),
        ]
    )
    assert max(differences.values()) <= MIXED, differences


@pytest.mark.skipif(not has_bfloat16(), reason="this CPU has no bfloat16 instructions")
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_bfloat16_alone_equals_the_pipeline_whose_unet_runs_in_it(layout: str) -> None:
    model = load_model(None, device="cpu", dtype="bfloat16")
    apply_setup(model, Setup(threads=1, memory_format=layout))
    pipeline = Pipeline(model, shipped_path())
    for sampler in SAMPLERS:
        wanted = emoji(sampler=sampler)
        found = engine_images(model, [wanted], CONFIG)["job", 0]
        difference = float(np.abs(found - pipeline.images([wanted])[0][0]).max())
        assert difference <= (0.0 if sampler in BITWISE else ALONE)


@pytest.mark.skipif(not has_bfloat16(), reason="this CPU has no bfloat16 instructions")
def test_bfloat16_images_are_close_to_float32s_alone_and_in_a_mixed_batch() -> None:
    model = load_model(None, device="cpu", dtype="bfloat16")
    apply_setup(model, Setup(threads=1, memory_format="channels_last"))
    requests = [emoji(name, sampler=name, seed=seed, steps=8) for seed, name in enumerate(SAMPLERS)]
    expected = engine_images(shipped().model, requests, CONFIG)
    alone = {key: image for item in requests for key, image in engine_images(model, [item], CONFIG).items()}
    for found in (alone, engine_images(model, requests, CONFIG)):
        assert all(np.isfinite(image).all() for image in found.values())
        scores = [ssim(found[key], expected[key]) for key in expected]
        assert min(scores) > NEAR, scores


def ssim(image: Image, other: Image) -> float:
    planes = (torch.from_numpy(each).permute(2, 0, 1)[None] for each in (image, other))
    return float(metrics.ssim(*planes))


def test_the_layout_for_the_cpu_stays_as_close() -> None:
    pair = Pair(shipped_path())
    apply_setup(pair.model, Setup(threads=1, memory_format="channels_last"))
    assert isinstance(pair.model.unet_in(pair.model.dtype), LeanUNet)
    requests = [emoji(name, sampler=name, seed=seed) for seed, name in enumerate(SAMPLERS)]
    assert max(pair.difference(requests).values()) <= MIXED
    assert pair.difference(requests[:1])[requests[0].job_id] <= ALONE
    never_skips = emoji("balanced", sampler="ddim", quality="balanced", replay=((),))
    assert pair.difference([never_skips])["balanced"] <= MIXED


@pytest.mark.parametrize("sampler", ["ddim", "euler_a", "dpmpp_2m", "lcm"])
def test_a_seed_gives_one_image_whoever_is_beside_it(sampler: str) -> None:
    model, wanted = shipped().model, emoji("wanted", sampler=sampler, seed=21)
    alone = engine_images(model, [wanted], CONFIG)["wanted", 0]
    mates = [emoji(f"mate-{n}", sampler=SAMPLERS[n], steps=2 + n, seed=n, prompt=f"a star {n}") for n in range(5)]

    beside = engine_images(model, [*mates[:3], wanted, *mates[3:]], CONFIG)["wanted", 0]

    assert np.abs(alone - beside).max() <= MIXED


@pytest.mark.parametrize(
    ("family", "prediction"),
    [
        ("sd1", "epsilon"),
        ("sd1", "v_prediction"),
        ("sd2", "v_prediction"),
        ("sdxl", "epsilon"),
        ("sdxl", "v_prediction"),
        ("lcm", "epsilon"),
        ("lcm", "v_prediction"),
        ("lcm-xl", "epsilon"),
        ("turbo", "epsilon"),
        ("sd-turbo", "epsilon"),
    ],
)
def test_every_family_equals_its_pipeline(family: str, prediction: str) -> None:
    pair = random_pair(family, prediction)
    assert pair.model.family == {"lcm-xl": "lcm", "turbo": "sdxl", "sd-turbo": "sd2"}.get(family, family)
    samplers = pair.model.entry.samplers
    requests = [request(sampler, sampler=sampler, seed=number) for number, sampler in enumerate(samplers)]
    for item in requests:
        difference = pair.difference([item])[item.job_id]
        assert difference <= (0.0 if item.sampler in BITWISE else ALONE), item.sampler
    assert max(pair.difference(requests).values()) <= MIXED


def test_the_lcm_pipeline_itself(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path, "lcm")
    index = json.loads((path / "model_index.json").read_text())
    changes = {"_class_name": "LatentConsistencyModelPipeline", "scheduler": ["diffusers", "LCMScheduler"]}
    (path / "model_index.json").write_text(json.dumps(index | changes))
    kind: Any = LatentConsistencyModelPipeline
    pipeline = kind.from_pretrained(str(path), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    wanted = request(sampler="lcm", steps=4, guidance_scale=8.5, seed=5)
    expected = pipeline(
        wanted.prompt,
        height=64,
        width=64,
        num_inference_steps=4,
        guidance_scale=8.5,
        generator=torch.Generator("cpu").manual_seed(5),
        output_type="np",
    ).images[0]
    found = engine_images(load_model(path, device="cpu"), [wanted], CONFIG)["job", 0]
    assert np.abs(found - expected).max() <= ALONE


@pytest.mark.parametrize("family", ["turbo", "sd-turbo"])
def test_turbo_takes_few_steps_without_guidance(family: str) -> None:
    pair = random_pair(family, "epsilon")
    requests = [
        request(f"{sampler}-{steps}", sampler=sampler, steps=steps, guidance_scale=0.0, seed=steps)
        for sampler in ("euler_a", "euler", "ddim")
        for steps in (1, 2, 3, 4)
    ]
    assert max(pair.difference(requests).values()) <= MIXED
    for item in requests:
        assert pair.difference([item])[item.job_id] <= ALONE, item.job_id


def test_an_empty_and_a_given_negative_prompt_on_sdxl() -> None:
    pair = random_pair("sdxl", "epsilon")
    requests = [request("empty", seed=1), request("given", negative_prompt="a dog", seed=1)]
    assert max(pair.difference([item])[item.job_id] for item in requests) == 0.0
    assert not np.array_equal(pair.expected(requests[0]), pair.expected(requests[1]))
