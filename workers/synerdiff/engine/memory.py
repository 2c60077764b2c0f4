"""Running out of memory: recognise it, halve the call, remember what fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that the device (or the CPU's allocator) had no room left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release_cached() -> None:
    """Give cached blocks back to the device, so that a smaller call finds room in one piece."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass(slots=True)
class RowLimits:
    """The number of rows known to be too many, by shape; a call is cut below it from the start.

    ``splits`` counts the calls that failed and were cut.
    """

    splits: int = 0
    _limits: dict[object, int] = field(default_factory=dict)

    def limit(self, shape: object) -> int | None:
        """Most rows to try at once for this shape; None where nothing failed yet."""
        return self._limits.get(shape)

    def failed(self, shape: object, rows: int) -> None:
        """Remember that ``rows`` at once did not fit."""
        self.splits += 1
        self._limits[shape] = max(1, min(rows // 2, self._limits.get(shape, rows)))


def run_in_pieces(
    call: Callable[[int, int], Tensor], rows: int, shape: object, limits: RowLimits
) -> tuple[Tensor, tuple[int, ...]]:
    """Run ``call(start, stop)`` over ``rows`` rows, in one call if they fit and in halves where they do not.

    Returns the outputs in order and the rows that did not fit even alone; those hold NaN. Raises
    ``torch.OutOfMemoryError`` when not a single row fits.
    """
    outputs: list[Tensor] = []
    failed: list[int] = []
    size = min(rows, limits.limit(shape) or rows)
    spans = [(start, min(start + size, rows)) for start in range(0, rows, size)]
    spans.reverse()
    while spans:
        start, stop = spans.pop()
        try:
            outputs.append(call(start, stop))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            release_cached()
            if stop - start == 1:
                failed.append(start)
                continue
            limits.failed(shape, stop - start)
            middle = (start + stop) // 2
            spans += [(middle, stop), (start, middle)]
    if not outputs:
        raise torch.OutOfMemoryError(f"not one of {rows} rows fits")
    return _with_gaps(outputs, failed, rows), tuple(failed)


def _with_gaps(outputs: list[Tensor], failed: list[int], rows: int) -> Tensor:
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if not failed:
        return joined
    whole = joined.new_full((rows, *joined.shape[1:]), float("nan"))
    fitting = [row for row in range(rows) if row not in set(failed)]
    whole[fitting] = joined
    return whole
