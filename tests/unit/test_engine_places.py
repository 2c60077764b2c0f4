"""Members keep their places in a batch as others come and go, and a text is laid out once where it stays."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from synerdiff.engine import lean_text
from synerdiff.engine.batch import _arranged
from synerdiff.engine.conditioning import TextRows
from synerdiff.engine.lean_text import LeanText
from synerdiff.engine.model import load_model
from synerdiff.engine.sample import Sample
from synerdiff.engine.text import Embedding, TextEncoder
from tests.engines import engine_with, images, request


def member(name: str) -> Any:
    return SimpleNamespace(name=name, table=SimpleNamespace(sampler=name[0]))


def names(members: list[Any]) -> str:
    return " ".join(each.name for each in members)


def test_only_those_whose_place_went_to_another_sampler_move() -> None:
    a1, a2, a3, b1, b2, c1, c2, b3 = map(member, ("a1", "a2", "a3", "b1", "b2", "c1", "c2", "b3"))
    before = _arranged([c1, a1, b1, a2, b2, a3, c2], [])
    assert names(before) == "a1 a2 a3 b1 b2 c1 c2"
    after = _arranged([c1, b1, a2, b2, a3, c2, b3], before)
    assert names(after) == "a3 a2 b3 b1 b2 c1 c2"
    assert names(_arranged([a2, b2], after)) == "a2 b2"


class Projecting:
    """Counts the texts that are asked for."""

    def __init__(self) -> None:
        self.asked: list[Embedding] = []

    def projected(self, text: Embedding) -> torch.Tensor:
        self.asked.append(text)
        return 2 * text.context


def test_text_rows_are_right_and_written_once() -> None:
    texts = [Embedding(torch.full((3, 2), float(value)), None) for value in range(6)]
    unet: Any = Projecting()
    rows = TextRows()
    negative = texts[0]
    for positives in ([1, 2, 3], [1, 4, 3], [4], [4, 5, 3, 1]):
        wanted = [*[negative] * len(positives), *(texts[value] for value in positives)]
        found = rows.of(unet, wanted[: len(positives)], wanted[len(positives) :])
        assert torch.equal(found, torch.stack([2 * text.context for text in wanted]))
    unet.asked.clear()
    rows.of(unet, [negative] * 4, [texts[value] for value in (4, 5, 2, 1)])
    assert unet.asked == [texts[2]]


def test_memory_for_text_rows_doubles() -> None:
    texts = [Embedding(torch.full((3, 2), float(value)), None) for value in range(8)]
    unet: Any = Projecting()
    rows = TextRows()
    where = [rows.of(unet, texts[:1], texts[:count]).untyped_storage().data_ptr() for count in range(1, 9)]
    assert [count for count in range(2, 9) if where[count - 1] != where[count - 2]] == [2, 3, 5]


def test_those_that_ended_are_not_kept() -> None:
    engine = engine_with()
    engine.admit(request("long", steps=6))
    engine.admit(request("short", steps=2))
    while not images(engine.step()):
        pass
    engine.step()
    assert {each.job_id for each in gc.get_objects() if type(each) is Sample} == {"long"}


@torch.inference_mode()
def test_texts_have_the_encoder_s_own_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(None)
    encoder = TextEncoder(model)
    encoder.encode("a red apple", "", guided=True)
    monkeypatch.setattr(model.text_encoders[0], "forward", refuse)
    found = encoder.encode("a blue star on a white background", "", guided=False).positive.context
    monkeypatch.undo()
    tokens = model.tokenizers[0](
        "a blue star on a white background", padding="max_length", max_length=77, return_tensors="pt"
    )
    assert torch.equal(found, model.text_encoders[0](tokens.input_ids)[0][0])


@torch.inference_mode()
def test_a_comparison_that_memory_ended_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_model(None).text_encoders[0]
    lean, ids = LeanText(encoder), torch.ones(1, 77, dtype=torch.long)
    first = _failing(monkeypatch, lean, ids, torch.OutOfMemoryError("no room"))
    second = _failing(monkeypatch, lean, ids, RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    third = lean(ids)
    monkeypatch.setattr(encoder, "forward", refuse)
    assert all(torch.equal(found, lean(ids)) for found in (first, second, third))


@torch.inference_mode()
def test_a_comparison_that_fails_otherwise_settles_it(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_model(None).text_encoders[0]
    lean, ids = LeanText(encoder), torch.ones(1, 77, dtype=torch.long)
    _failing(monkeypatch, lean, ids, RuntimeError("another layout"))
    lean(ids)
    monkeypatch.setattr(encoder, "forward", refuse)
    with pytest.raises(AssertionError, match="own call"):
        lean(ids)


def _failing(monkeypatch: pytest.MonkeyPatch, lean: LeanText, ids: torch.Tensor, error: Exception) -> torch.Tensor:
    """A text encoded while the shorter way raises ``error``."""

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(lean_text, "_hidden", fail)
        return lean(ids)


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a text after the first is encoded without transformers' own call")


def test_another_kind_of_encoder_is_called_as_it_is() -> None:
    encoder = torch.nn.Module()
    encoder.forward = lambda ids: (ids + 1,)
    lean = LeanText(encoder)
    assert [lean(torch.tensor([[value]])).item() for value in (1, 2)] == [2, 3]
