"""How a decode is cut: four granularities, from one chunk to strips of at most a twentieth.

``whole``, ``coarse`` and ``stages`` cut between operations, so with plain kernels they are bitwise equal to
``vae.decode``. ``strips``
also cuts the largest operations into rows, which is equal within 1e-5. Chunks are about even by estimated cost; a cut
that would only make small chunks smaller is not made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice, pairwise
from typing import Any
from weakref import WeakKeyDictionary

from .kernels import PLAIN, Kernels
from .operation import DecodeState, Operation
from .operations import operations
from .partition import balance, group_under

COARSE_CHUNKS = 4
STRIP_SHARE = 0.05


class Granularity(StrEnum):
    """How finely a decode is cut."""

    WHOLE = "whole"
    COARSE = "coarse"
    STAGES = "stages"
    STRIPS = "strips"


GRANULARITIES = tuple(Granularity)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of consecutive atoms: whole operations or strips of one.

    Attributes:
        names: what it runs.
        cost: its share of the decode's estimated cost, in (0, 1].
    """

    names: tuple[str, ...]
    cost: float
    steps: tuple[Callable[[DecodeState], None], ...]


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """A decode's chunks, and the most elements that it holds between two of them."""

    granularity: Granularity
    chunks: tuple[Chunk, ...]
    held_elements: int


@dataclass(frozen=True, slots=True)
class _Atom:
    name: str
    cost: float
    run: Callable[[DecodeState], None]


_PLANS: WeakKeyDictionary[Any, dict[tuple[int, int, Granularity, Kernels], DecodePlan]] = WeakKeyDictionary()


def decode_plan(vae: Any, height: int, width: int, granularity: str, kernels: Kernels = PLAIN) -> DecodePlan:
    """Return the plan for latents of ``height`` x ``width``; a VAE's plans are made once.

    Raises:
        ModelError: the VAE is no AutoencoderKL.
        ValueError: there is no such granularity.
    """
    key = (height, width, Granularity(granularity), kernels)
    plans = _PLANS.setdefault(vae, {})
    if key not in plans:
        plans[key] = _make_plan(operations(vae, height, width, kernels), key[2])
    return plans[key]


def granularities(vae: Any, height: int, width: int) -> dict[Granularity, int]:
    """Return the number of chunks of each granularity, for latents of ``height`` x ``width``."""
    return {g: len(decode_plan(vae, height, width, g).chunks) for g in GRANULARITIES}


def _make_plan(ops: tuple[Operation, ...], granularity: Granularity) -> DecodePlan:
    total = sum(op.cost for op in ops)
    atoms = [atom for op in ops for atom in _atoms(op, STRIP_SHARE * total, granularity)]
    remaining = iter(atoms)
    lengths = _lengths([atom.cost for atom in atoms], granularity)
    chunks = tuple(_chunk(tuple(islice(remaining, length)), total) for length in lengths)
    held = ops[0].held if len(chunks) == 1 else max(op.held for op in ops)
    return DecodePlan(granularity, chunks, held)


def _lengths(costs: list[float], granularity: Granularity) -> list[int]:
    if granularity is Granularity.WHOLE:
        return [len(costs)]
    if granularity is Granularity.COARSE:
        return balance(costs, COARSE_CHUNKS)
    strips = granularity is Granularity.STRIPS
    limit = min(max(costs), STRIP_SHARE * sum(costs)) if strips else max(costs)
    return balance(costs, len(group_under(costs, limit)))


def _atoms(op: Operation, limit: float, granularity: Granularity) -> list[_Atom]:
    count = min(op.rows, -int(-op.cost // limit))
    if granularity is not Granularity.STRIPS or not op.divisible or count == 1:
        return [_Atom(op.name, op.cost, op.whole)]
    edges = [op.rows * i // count for i in range(count + 1)]
    return [
        _Atom(
            f"{op.name}[{start}:{stop}]",
            op.cost * (stop - start) / op.rows,
            partial(op.strip, start=start, stop=stop),
        )
        for start, stop in pairwise(edges)
    ]


def _chunk(atoms: tuple[_Atom, ...], total: float) -> Chunk:
    return Chunk(
        tuple(atom.name for atom in atoms), sum(atom.cost for atom in atoms) / total, tuple(atom.run for atom in atoms)
    )
