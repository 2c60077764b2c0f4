"""Shape groups: samples that can share a UNet call. Groups take turns, so that none starves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from synerdiff.engine.batch import Batch
from synerdiff.engine.conditioning import TextRows
from synerdiff.engine.model import LoadedModel
from synerdiff.engine.sample import Sample
from synerdiff.engine.shape import Shape


@dataclass(slots=True, eq=False)
class Group:
    """The active samples of one shape and the batch they form; the batch is remade when membership changes."""

    shape: Shape
    samples: list[Sample] = field(default_factory=list)
    last_turn: int = -1
    _batch: Batch | None = None
    _before: list[Sample] = field(default_factory=list)
    _text_rows: TextRows = field(default_factory=TextRows)

    @property
    def rows(self) -> int:
        """UNet rows of a full step of all its samples."""
        return sum(sample.rows for sample in self.samples)

    def size(self, model: LoadedModel) -> tuple[int, int]:
        """Width and height of its images in pixels."""
        multiple = model.entry.latent_multiple
        return self.shape.width * multiple, self.shape.height * multiple

    def batch(self, model: LoadedModel) -> Batch:
        """The current batch."""
        if self._batch is None:
            self._batch = Batch(self.samples, model, self._text_rows, self._before)
            self._before = []  # else those that ended would keep their latents
        return self._batch

    def add(self, sample: Sample) -> None:
        """Let a sample join before the next step."""
        self._dissolve()
        self.samples.append(sample)

    def remove(self, leaves: Callable[[Sample], bool]) -> list[Sample]:
        """Take out the samples for which ``leaves`` is true, with their latents, and return them."""
        leaving = [sample for sample in self.samples if leaves(sample)]
        if leaving:
            self._dissolve()
            self.samples = [sample for sample in self.samples if not leaves(sample)]
        return leaving

    def settle(self) -> None:
        """Give every sample its own latents and history as of now; the batch goes on."""
        if self._batch is not None:
            self._batch.release()

    def _dissolve(self) -> None:
        if self._batch is not None:
            self._batch.release()
            self._before, self._batch = self._batch.members, None


class Groups:
    """All active samples by shape."""

    def __init__(self) -> None:
        self._groups: dict[Shape, Group] = {}
        self._turn = 0

    def __len__(self) -> int:
        return sum(len(group.samples) for group in self._groups.values())

    @property
    def count(self) -> int:
        """Groups that take turns."""
        return len(self._groups)

    def __iter__(self) -> Iterator[Sample]:
        return (sample for group in self._groups.values() for sample in group.samples)

    def get(self, shape: Shape) -> Group | None:
        """The group of a shape, None where nobody has it."""
        return self._groups.get(shape)

    def add(self, shape: Shape, sample: Sample) -> None:
        """Let a sample join its group."""
        self._groups.setdefault(shape, Group(shape)).add(sample)

    def remove(self, leaves: Callable[[Sample], bool]) -> list[Sample]:
        """Take samples out of every group; groups that are empty then go."""
        leaving = [sample for group in self._groups.values() for sample in group.remove(leaves)]
        self._groups = {shape: group for shape, group in self._groups.items() if group.samples}
        return leaving

    def settle(self) -> None:
        """Give every sample its latents as of now."""
        for group in self._groups.values():
            group.settle()

    def next(self) -> Group | None:
        """The group whose last turn is the longest ago; None when nothing is active."""
        return min(self._groups.values(), key=lambda group: group.last_turn, default=None)

    def took_turn(self, group: Group) -> None:
        """Note that the group has just stepped."""
        self._turn += 1
        group.last_turn = self._turn
