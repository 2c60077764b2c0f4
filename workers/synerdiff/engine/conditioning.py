"""What the rows of a batch are conditioned on, assembled once for a membership and kept for its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from synerdiff.engine.executors import to_device
from synerdiff.engine.lean import ALONE, LeanUNet
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.sample import Sample
from synerdiff.engine.text import Embedding

_KEPT = 8


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The layout of one UNet call over ``count`` rows.

    The first ``unconditional`` rows belong to the members at ``positions`` (``ran`` is the same as a set, ``index``
    as a tensor, None when that is every member in order); one conditional row for each member follows. ``context`` is
    ``[count, tokens, width]``, ``projected`` what a lean UNet makes of it, ``options`` the UNet's other inputs.
    """

    positions: tuple[int, ...]
    ran: frozenset[int]
    index: Tensor | None
    context: Tensor
    projected: Tensor | None
    options: dict[str, Any]

    @property
    def unconditional(self) -> int:
        """Number of unconditional rows."""
        return len(self.positions)

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.context.shape[0])


class TextRows:
    """What a lean UNet makes of the texts of a batch, side by side in memory that stays from one membership to the
    next: only the rows whose text is another one are written.

    Negative texts end and positive ones begin at the same place, however many there are. The memory grows by doubling,
    and then all is written again.
    """

    def __init__(self) -> None:
        self._texts: list[Embedding | None] = []
        self._values: Tensor | None = None

    def of(self, unet: LeanUNet, negatives: Sequence[Embedding], positives: Sequence[Embedding]) -> Tensor:
        """``[texts, tokens, P]``, the negative ones first; good until the next call."""
        texts, values = (*negatives, *positives), self._values
        if values is None or len(values) < 2 * len(positives):
            example, members = unet.projected(texts[0]), 1 << (len(positives) - 1).bit_length()
            values = self._values = example.new_empty(2 * members, *example.shape)
            self._texts = [None] * len(values)
        first = len(values) // 2 - len(negatives)
        for place, text in enumerate(texts, start=first):
            if self._texts[place] is not text:
                values[place].copy_(unet.projected(text))
                self._texts[place] = text
        return values[first : first + len(texts)]


class Conditions:
    """The members' embeddings; layouts are cached by which members skip.

    ``guided`` are the positions of members whose full step takes two rows, ``guided_index`` the same as a
    tensor, None when that is every member.
    """

    def __init__(self, members: Sequence[Sample], model: LoadedModel, text_rows: TextRows) -> None:
        self._members = members
        self._model = model
        self._text_rows = text_rows
        self._layouts: dict[frozenset[int], Rows] = {}
        self.guided = tuple(position for position, sample in enumerate(members) if sample.guided)
        self.guided_index = _index(self.guided, len(members), model.device)
        negatives = [_negative(members[position]) for position in self.guided]
        self._texts = [*negatives, *(sample.conditioning.positive for sample in members)]
        self._alike = all(negative is negatives[0] for negative in negatives)
        self._exact = any(sample.request.quality == "exact" for sample in members)
        self._context = torch.stack([text.context for text in self._texts]).to(members[0].shape.dtype)
        self._all_projected: Tensor | None = None

    def rows(self, skipping: frozenset[int]) -> Rows:
        """The layout in which the guided members at positions ``skipping`` run no unconditional row."""
        if skipping not in self._layouts:
            if len(self._layouts) >= _KEPT:
                self._layouts.pop(next(iter(self._layouts)))
            self._layouts[skipping] = self._layout(skipping)
        return self._layouts[skipping]

    def _layout(self, skipping: frozenset[int]) -> Rows:
        positions = tuple(position for position in self.guided if position not in skipping)
        index = _index(positions, len(self._members), self._model.device)
        first = len(self.guided)
        places = [i for i, position in enumerate(self.guided) if position not in skipping]
        places += range(first, len(self._texts))
        samples = [*(self._members[position] for position in positions), *self._members]
        context = self._take(self._context, places)
        projected = self._projected()
        if projected is not None:
            projected = None if self._exact and len(places) <= ALONE else self._take(projected, places)
        options = self._options([self._texts[place] for place in places], samples)
        return Rows(positions, frozenset(positions), index, context, projected, options)

    def _take(self, values: Tensor, places: Sequence[int]) -> Tensor:
        """Rows of all texts. Negative prompts are mostly the same, and then any of them will do: nothing is copied."""
        if self._alike or len(places) == len(values):
            return values[len(values) - len(places) :]
        return values.index_select(0, to_device(torch.tensor(places), values.device))

    def _projected(self) -> Tensor | None:
        """What a lean UNet makes of all texts."""
        unet = self._model.unet_in(self._members[0].shape.dtype)
        if self._all_projected is None and isinstance(unet, LeanUNet):
            split = len(self.guided)
            self._all_projected = self._text_rows.of(unet, self._texts[:split], self._texts[split:])
        return self._all_projected

    def _options(self, rows: Sequence[Embedding], samples: Sequence[Sample]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if rows[0].pooled is not None:
            pooled = torch.stack([row.pooled for row in rows if row.pooled is not None])
            sizes = [(sample.request.height, sample.request.width) for sample in samples]
            time_ids = torch.tensor([[*size, 0, 0, *size] for size in sizes], dtype=pooled.dtype)
            options["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": to_device(time_ids, pooled.device)}
        width = self._model.guidance_width
        if width is not None:
            scales = torch.tensor([sample.request.guidance_scale - 1 for sample in samples])
            embedded = guidance_embedding(scales, width).to(samples[0].shape.dtype)
            options["timestep_cond"] = to_device(embedded, self._model.device)
        return options


def _index(positions: tuple[int, ...], count: int, device: torch.device) -> Tensor | None:
    """Positions as a tensor; None when they are all of ``count``."""
    return None if len(positions) == count else to_device(torch.tensor(positions, dtype=torch.long), device)


def _negative(sample: Sample) -> Embedding:
    assert sample.conditioning.negative is not None
    return sample.conditioning.negative


def guidance_embedding(scales: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding ``[N, width]`` of guidance scales minus one, as distilled models expect it (LCM)."""
    half = width // 2
    rate = torch.log(torch.tensor(10000.0)) / (half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -rate)
    angles = (scales * 1000.0).to(torch.float32)[:, None] * frequencies[None, :]
    embedding = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return torch.nn.functional.pad(embedding, (0, 1)) if width % 2 else embedding
