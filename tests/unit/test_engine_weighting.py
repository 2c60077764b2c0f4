"""Prompt weights: Compel's syntax, the plain embeddings where no sign is used, refusals that name the field."""

from __future__ import annotations

import pytest
import torch

from synerdiff.engine.config import EngineConfig
from synerdiff.engine.engine import Engine
from synerdiff.engine.text import Embedding, TextEncoder
from synerdiff.protocol.errors import InvalidJob
from synerdiff.workers.engines import _versions
from synerdiff.workers.messages import EngineSpec
from tests.engines import drain, images, random_model, request


def encoded(text: str, family: str = "sd1", *, weighted: bool = True, chunk_long: bool = True) -> Embedding:
    encoder = TextEncoder(random_model(family), weighted=weighted, chunk_long=chunk_long)
    return encoder.encode(text, "", guided=False).positive


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("text", ["", "a red cat", "a " * 100])
def test_without_weights_the_embeddings_are_the_plain_ones(family: str, text: str) -> None:
    plain, found = encoded(text, family, weighted=False), encoded(text, family)
    assert torch.equal(found.context, plain.context)
    if plain.pooled is not None:
        assert found.pooled is not None
        assert torch.equal(found.pooled, plain.pooled)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_weight_changes_what_the_unet_attends_to(family: str) -> None:
    plain = encoded("a red cat", family).context
    somewhat, much = encoded("a red+ cat", family).context, encoded("a red+++ cat", family).context
    assert 0 < (somewhat - plain).abs().max() < (much - plain).abs().max()
    assert torch.equal(encoded("a (red)1.1 cat", family).context, somewhat)


def test_parts_take_a_length_each_and_a_short_negative_is_filled_up() -> None:
    encoder = TextEncoder(random_model(), weighted=True, chunk_long=True)
    found = encoder.encode('("a cat", "a dog").and()', "a fox", guided=True)
    assert found.negative is not None
    assert found.positive.context.shape == found.negative.context.shape == (154, 32)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a cat.swap(dog)", r"negative_prompt asks for \.swap\(\)"),
        ("a cat withLora(fur, 0.5)", "negative_prompt asks for a LoRA"),
        ('("a", "b").blend(1)', "negative_prompt cannot be read as a weighted prompt"),
        ("a " * 100, "negative_prompt must be at most 75 tokens long for this model; it takes 2 times that"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_field(text: str, reason: str) -> None:
    encoder = TextEncoder(random_model(), weighted=True)
    with pytest.raises(InvalidJob, match=reason):
        encoder.chunk_count("a cat", text, guided=True)


def test_the_engine_follows_the_setting_and_the_receipt_names_the_parser() -> None:
    def pixels(prompt: str, config: EngineConfig) -> torch.Tensor:
        engine = Engine(random_model(), config)
        engine.admit(request(prompt=prompt))
        return torch.from_numpy(images(drain(engine))["job", 0].pixels)

    on = EngineConfig(prompt_weights="compel", float_images=True)
    off = EngineConfig(float_images=True)
    assert torch.equal(pixels("a red cat", on), pixels("a red cat", off))
    assert not torch.equal(pixels("a red++++ cat", on), pixels("a red cat", on))
    assert not torch.equal(pixels("a red++++ cat", on), pixels("a red++++ cat", off))
    assert "compel" in _versions(EngineSpec("m", prompt_weights="compel"))
    assert "compel" not in _versions(EngineSpec("m"))
