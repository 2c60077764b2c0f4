"""The lean UNet beside the UNet: equal up to rounding in a batch and to the last bit alone; no weights fall behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from synerdiff.engine.lean import LeanUNet, lean
from synerdiff.engine.lean_blocks import LeanResnet, LeanTransformer, LeanUpsample
from synerdiff.engine.packing import packed
from synerdiff.engine.text import Embedding
from tests.engines import random_model

TOKENS = 77


def leaned(family: str) -> tuple[Any, LeanUNet]:
    unet: Any = random_model(family).unet
    twin = lean(unet)
    assert twin is not None
    return unet, twin


def inputs(unet: Any, rows: int, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(rows)
    latents = torch.randn(rows, unet.config.in_channels, *size)
    return latents, torch.linspace(1.0, 999.0, rows), torch.randn(rows, TOKENS, unet.config.cross_attention_dim)


@torch.inference_mode()
def difference(family: str, rows: int, size: tuple[int, int] = (8, 8)) -> float:
    unet, twin = leaned(family)
    latents, steps, text = inputs(unet, rows, size)
    expected = unet(latents, steps, encoder_hidden_states=text, return_dict=False)[0]
    found = twin(latents, steps, encoder_hidden_states=text, return_dict=False)[0]
    return float((found - expected).abs().max())


@pytest.mark.parametrize("family", ["sd1", "sd2"])
@pytest.mark.parametrize("size", [(8, 8), (16, 4), (7, 9)])
def test_a_batch_equals_the_unets_up_to_rounding(family: str, size: tuple[int, int]) -> None:
    assert difference(family, 5, size) < 1e-5


@pytest.mark.parametrize("rows", [1, 2])
def test_a_request_alone_gets_the_unets_own_bits(rows: int) -> None:
    assert difference("sd1", rows) == 0.0


@pytest.mark.parametrize("rows", [1, 2])
@torch.inference_mode()
def test_few_rows_with_projected_texts_are_lean_too(rows: int) -> None:
    unet, twin = leaned("sd1")
    unet.to(memory_format=torch.channels_last)
    latents, steps, text = inputs(unet, rows, (8, 8))
    expected = unet(latents, steps, encoder_hidden_states=text, return_dict=False)[0]
    projected = twin.project(text)

    found = packed(twin, loose="lean")(latents, steps, encoder_hidden_states=text, projected=projected)[0]

    assert 0.0 < float((found - expected).abs().max()) < 1e-5


@torch.inference_mode()
def test_texts_are_projected_once() -> None:
    unet, twin = leaned("sd1")
    latents, steps, text = inputs(unet, 4, (8, 8))
    embeddings = [Embedding(row, None) for row in text]
    projected = torch.stack([twin.projected(each) for each in embeddings])

    expected = twin(latents, steps, encoder_hidden_states=text)[0]
    found = twin(latents, steps, encoder_hidden_states=torch.zeros_like(text), projected=projected)[0]

    assert float((found - expected).abs().max()) < 1e-5
    assert all(twin.projected(each) is twin.projected(each) for each in embeddings)


def test_every_block_is_lean_and_shares_its_parameters() -> None:
    unet, twin = leaned("sd1")
    kinds = {type(module).__name__ for module in twin.lean.modules()}
    assert {LeanResnet.__name__, LeanTransformer.__name__, LeanUpsample.__name__} <= kinds
    assert not kinds & {"ResnetBlock2D", "Transformer2DModel"}
    shared = {id(parameter) for parameter in unet.parameters()}
    own = {id(parameter) for parameter in twin.lean.parameters()} - shared
    merged = [module for module in twin.lean.modules() if isinstance(module, LeanUpsample)]
    assert own == {id(parameter) for module in merged for parameter in module.taps.parameters()}


@pytest.mark.parametrize("family", ["sdxl", "lcm"])
def test_a_unet_that_is_told_more_than_step_and_text_has_no_lean_form(family: str) -> None:
    assert lean(random_model(family).unet) is None
