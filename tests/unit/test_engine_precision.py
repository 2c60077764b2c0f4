"""The precision of a model: what each device takes, what is refused, and what bfloat16 does to the numbers."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from synerdiff.cli.replay import replay
from synerdiff.engine import precision
from synerdiff.engine.config import EngineConfig
from synerdiff.engine.lean import LeanUNet
from synerdiff.engine.model import LoadedModel, load_model
from synerdiff.engine.precision import choose_dtype, has_bfloat16, vae_dtype
from synerdiff.engine.profiler import Setup, apply_setup, check_profile
from synerdiff.engine.profiler.cache import cache_key
from synerdiff.engine.profiler.device import device_label
from synerdiff.engine.snapshot import identity
from synerdiff.policy.shipped import shipped_profile
from synerdiff.protocol.errors import ModelError, PlanError
from tests.engines import random_model, request

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
ROUNDED = 0.03
native = pytest.mark.skipif(not has_bfloat16(), reason="this CPU has no bfloat16 instructions")


@cache
def in_bfloat16() -> LoadedModel:
    torch.set_num_threads(1)
    model = load_model(None, device="cpu", dtype="bfloat16")
    apply_setup(model, Setup(threads=1, memory_format="channels_last"))
    return model


@pytest.mark.parametrize(
    ("asked", "device", "dtype"),
    [
        ("auto", CPU, torch.float32),
        ("auto", GPU, torch.float16),
        ("float32", GPU, torch.float32),
        ("bfloat16", GPU, torch.bfloat16),
        ("bfloat16", CPU, torch.bfloat16),
    ],
)
def test_a_device_has_its_own_precision_unless_one_is_asked_for(
    asked: str, device: torch.device, dtype: torch.dtype
) -> None:
    assert choose_dtype(asked, device) == dtype


def test_what_cannot_run_is_refused() -> None:
    with pytest.raises(ModelError, match=r"dtype is float16, but the device is a CPU, which runs float32 or bfloat16"):
        load_model(None, device="cpu", dtype="float16")
    with pytest.raises(ModelError, match=r"dtype must be auto, float32, float16 or bfloat16; got 'fp8'"):
        load_model(None, device="cpu", dtype="fp8")


@pytest.mark.parametrize("native", [True, False])
def test_a_cpu_that_must_emulate_bfloat16_says_so(
    native: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda: native)
    with caplog.at_level(logging.WARNING):
        assert choose_dtype("bfloat16", CPU) == torch.bfloat16
    assert ("slower than float32" in caplog.text) is not native


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\n", True),
        ("processor : 0\nFeatures\t: fp asimd bf16 i8mm\n", True),
        ("processor : 0\nflags\t\t: fpu avx2 avx512f\n", False),
        (None, False),
    ],
)
def test_the_cpus_flags_tell(info: str | None, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tmp_path / "cpuinfo"
    if info is not None:
        listed.write_text(info)
    monkeypatch.setattr(precision, "Path", lambda _: listed)
    monkeypatch.setattr(precision, "onednn_takes_bfloat16", lambda: True)
    assert has_bfloat16.__wrapped__() is found


def test_decodes_are_single_on_a_cpu_and_where_the_vae_asks_for_it() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        assert vae_dtype(dtype, GPU, upcast=False) == dtype
        assert vae_dtype(dtype, GPU, upcast=True) == torch.float32
    assert vae_dtype(torch.bfloat16, CPU, upcast=False) == torch.float32


def test_a_model_in_bfloat16() -> None:
    model = in_bfloat16()
    parts = (model.unet, *model.text_encoders, model.vae)
    assert [next(part.parameters()).dtype for part in parts] == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert (model.dtype, model.vae_dtype) == (torch.bfloat16, torch.float32)


def calls(unet: Any, rows: int, dtype: torch.dtype) -> Tensor:
    torch.manual_seed(rows)
    latents, text = torch.randn(rows, 4, 16, 16), torch.randn(rows, 77, unet.config.cross_attention_dim)
    steps = torch.linspace(1.0, 999.0, rows)
    with torch.inference_mode():
        output: Tensor = unet(latents.to(dtype), steps, encoder_hidden_states=text.to(dtype), return_dict=False)[0]
    return output.float()


@native
def test_lean_and_packed_rows_in_bfloat16_are_as_close_to_float32_as_plain_ones() -> None:
    model = in_bfloat16()
    unet = model.unet_in(torch.bfloat16)
    assert isinstance(unet, LeanUNet)
    assert any(type(module).__name__ == "PackedConv2d" for module in unet.modules())
    expected = calls(copy.deepcopy(model.unet).float(), 5, torch.float32)
    lean, plain = calls(unet, 5, torch.bfloat16), calls(model.unet, 5, torch.bfloat16)
    for found in (lean, plain):
        assert 0.0 < float((found - expected).norm() / expected.norm()) < ROUNDED
    assert float((lean - plain).norm() / plain.norm()) < ROUNDED


@native
@pytest.mark.parametrize("rows", [1, 2])
def test_a_request_alone_gets_the_unets_own_bits_in_bfloat16(rows: int) -> None:
    model = in_bfloat16()
    found = calls(model.unet_in(torch.bfloat16), rows, torch.bfloat16)
    assert torch.equal(found, calls(model.unet, rows, torch.bfloat16))


def test_a_profile_is_one_precisions() -> None:
    model = random_model()
    other = replace(model, dtype=torch.bfloat16)
    here = replace(
        shipped_profile("cpu-tiny-emoji-128"), model_hash=model.model_hash, device=device_label(CPU), dtype="float32"
    )
    check_profile(here, model, EngineConfig())
    with pytest.raises(PlanError, match="dtype is 'float32', but this is 'bfloat16'"):
        check_profile(here, other, EngineConfig())
    assert here.profile_id != replace(here, dtype="bfloat16").profile_id
    asked: Any = {"executor": "auto", "threads": 1, "max_rows": 4}
    assert cache_key(model, 64, 64, **asked) != cache_key(other, 64, 64, **asked)


def test_a_latent_checkpoint_is_one_precisions() -> None:
    model = random_model()
    assert identity(request(), model) != identity(request(), replace(model, dtype=torch.bfloat16))


@native
def test_a_replay_runs_in_the_receipts_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"prompt": "a cat", "negative_prompt": "", "width": 128, "height": 128, "steps": 1, "n": 1, "seed": 3}
    asked |= {"guidance_scale": 3.0, "sampler": "ddim", "quality": "exact"}

    def made(dtype: str, **settings: str) -> str:
        source = tmp_path / "receipt.json"
        source.write_text(json.dumps({"job_id": "job", "dtype": dtype, "request": asked}))
        for name, value in {"DEVICE": "cpu", "DTYPE": "auto", **settings}.items():
            monkeypatch.setenv(f"SYNERDIFF_{name}", value)
        return str(replay(source, tmp_path / "out", "png")["images"][0]["sha256"])

    single, brain = made("float32"), made("bfloat16")
    assert single != brain
    assert "close, but not the same" not in capsys.readouterr().err
    assert made("float32", DTYPE="bfloat16") != single
    assert "made in float32 and these are made in bfloat16" in " ".join(capsys.readouterr().err.split())
    made("float16")
    assert "made in float16 and these are made in float32" in " ".join(capsys.readouterr().err.split())
