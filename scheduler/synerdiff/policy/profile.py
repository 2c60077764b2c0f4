"""What a device was measured to need: UNet calls by rows, VAE chunks, and both beside each other.

A *row* is one sample through the UNet: a sample with guidance costs two rows, one that skips the unconditional
pass (or has guidance off) costs one. Everything is in seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from synerdiff.policy import fields as read
from synerdiff.policy.errors import PolicyError

FORMAT = 1
EXECUTORS = ("serial", "threads", "streams")
MAX_CHUNKS = 1000  # of a decode; tables grow with them
MAX_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Granularity:
    """One way to cut a decode: ``chunk_s[i]`` is the seconds its chunk ``i`` takes alone, launches included."""

    name: str
    chunk_s: tuple[float, ...]

    @property
    def decode_s(self) -> float:
        """Seconds of a whole decode in these chunks."""
        return sum(self.chunk_s)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The measured contention: a UNet call of ``rows[i]`` started with ``decodes[j]`` decodes' worth of chunks.

    ``unet_s[i][j]`` and ``vae_s[i][j]`` are the seconds until each was done; the slot lasts as long as the longer.
    """

    rows: tuple[int, ...]
    decodes: tuple[float, ...]
    unet_s: tuple[tuple[float, ...], ...]
    vae_s: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class SkipShare:
    """When a quality class may skip, as the calibration left it: from step ``first`` x steps on, all but every
    ``refresh``-th step of a job of the profile's ``steps``; jobs of more steps skip longer runs, jobs of fewer shorter
    ones, for what ages a difference is the way through the noise levels. The simulator's stand-in for the criterion,
    which looks at the predictions themselves."""

    first: float
    refresh: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Measured (or assumed) costs of one model at one size on one device.

    ``rows``/``unet_s`` are the UNet call's curve; the last of ``granularities`` is the finest, whose chunks are
    the planner's unit. ``pairs`` is empty where nothing runs beside anything (``executor`` ``serial``).
    ``slot_s`` is the bookkeeping of a slot, ``encode_s`` a prompt's text encoding, ``admit_s`` what else a job
    costs the device when it joins. ``rows_per_sample`` and ``steps`` describe the usual job.
    ``exact_s[i]`` is a UNet call of ``i + 1`` rows with an ``exact`` image in it, where so few rows are called
    otherwise than ``unet_s`` says; empty where they are not. ``unet_rows`` names how calls are sized where that is not
    by their rows alone, such as ``padded up to 32``. ``assumptions`` says what was not measured.
    """

    model: str
    device: str
    dtype: str
    width: int
    height: int
    rows: tuple[int, ...]
    unet_s: tuple[float, ...]
    granularities: tuple[Granularity, ...]
    pairs: Pairs | None = None
    executor: str = "serial"
    model_hash: str = ""
    threads: int = 0
    memory_format: str = ""
    software: Mapping[str, str] = field(default_factory=dict)
    rows_per_sample: int = 2
    steps: int = 25
    max_rows: int = 0
    slot_s: float = 0.0
    encode_s: float = 0.0
    admit_s: float = 0.0
    skips: Mapping[str, SkipShare] = field(default_factory=dict)
    exact_s: tuple[float, ...] = ()
    unet_rows: str = "any"
    assumptions: tuple[str, ...] = ()
    spread: float = 0.0

    def __post_init__(self) -> None:
        _check(self)

    @property
    def profile_id(self) -> str:
        """Hash of what the measurement depends on (not of the figures): the same place gives the same id."""
        names = ("model", "model_hash", "device", "dtype", "width", "height", "executor", "threads", "memory_format")
        key = {name: getattr(self, name) for name in names} | {"software": dict(self.software)}
        if self.unet_rows != "any":
            key["unet_rows"] = self.unet_rows
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return f"{self.width}x{self.height}-{digest[:12]}"

    @property
    def figures_hash(self) -> str:
        """Hash of everything in the profile: tables are cached under it."""
        return hashlib.sha256(profile_document(self).encode()).hexdigest()[:16]

    @property
    def finest(self) -> Granularity:
        """The granularity whose chunks are the planner's unit."""
        return self.granularities[-1]

    @property
    def decode_s(self) -> float:
        """Seconds of a decode alone, in the granularity that does it soonest."""
        return min(each.decode_s for each in self.granularities)


def _check(profile: Profile) -> None:
    read.ascending(profile.rows, "rows")
    if profile.rows[0] < 1:
        raise PolicyError("rows[0]", f"must be at least 1; got {profile.rows[0]}")
    if len(profile.unet_s) != len(profile.rows):
        raise PolicyError("unet_s", f"must have one entry for each of the {len(profile.rows)} rows")
    if not profile.granularities:
        raise PolicyError("granularities", "must not be empty")
    counts = [len(each.chunk_s) for each in profile.granularities]
    if counts != sorted(counts) or counts[0] < 1:
        raise PolicyError("granularities", f"must go from coarse to fine, each with a chunk; got {counts} chunks")
    if counts[-1] > MAX_CHUNKS:
        raise PolicyError("granularities", f"must have at most {MAX_CHUNKS} chunks each; got {counts[-1]}")
    if len({each.name for each in profile.granularities}) != len(counts):
        raise PolicyError("granularities", "must have names of their own")
    if not 1 <= profile.steps <= MAX_STEPS:
        raise PolicyError("steps", f"must be from 1 to {MAX_STEPS}; got {profile.steps}")
    if profile.rows_per_sample not in (1, 2):
        raise PolicyError("rows_per_sample", f"must be 1 or 2; got {profile.rows_per_sample}")
    if profile.executor not in EXECUTORS:
        raise PolicyError("executor", f"must be one of {', '.join(EXECUTORS)}; got {profile.executor!r:.40}")
    if profile.pairs is not None:
        _check_pairs(profile.pairs)


def _check_pairs(pairs: Pairs) -> None:
    read.ascending(pairs.rows, "pairs.rows")
    read.ascending(pairs.decodes, "pairs.decodes")
    for name in ("unet_s", "vae_s"):
        grid: tuple[tuple[float, ...], ...] = getattr(pairs, name)
        if len(grid) != len(pairs.rows) or any(len(line) != len(pairs.decodes) for line in grid):
            shape = f"{len(pairs.rows)} x {len(pairs.decodes)}"
            raise PolicyError(f"pairs.{name}", f"must be {shape} (rows x decodes)")


def profile_document(profile: Profile) -> str:
    """The profile as JSON text."""
    plain = asdict(profile) | {"format": FORMAT}
    for name in ("exact_s", "unet_rows"):
        if plain[name] in ((), "any"):
            del plain[name]  # which older versions do not know
    return json.dumps(plain, sort_keys=True)


def planning_document(profile: Profile) -> str:
    """The profile as schedulers are told it: without ``exact_s``, which only the simulator goes by, and for which older
    schedulers would refuse it."""
    return profile_document(replace(profile, exact_s=()))


def parse_profile(document: str | bytes) -> Profile:
    """The profile of a JSON text; raises :class:`PolicyError` naming the field that is wrong."""
    given = read.load_object(document, "profile")
    if given.pop("format", None) != FORMAT:
        raise PolicyError("format", f"must be {FORMAT}")
    known = [each.name for each in fields(Profile)]
    read.only(given, known, known[:8])
    return Profile(**{name: _READERS[name](value, name) for name, value in given.items()})


def _granularities(value: Any, name: str) -> tuple[Granularity, ...]:
    found = []
    for i, entry in enumerate(read.items(value, name)):
        given = read.mapping(entry, f"{name}[{i}]")
        read.only(given, ("name", "chunk_s"), ("name", "chunk_s"), f"{name}[{i}].")
        label = read.text(given["name"], f"{name}[{i}].name")
        found.append(Granularity(label, read.numbers(given["chunk_s"], f"{name}[{i}].chunk_s")))
    return tuple(found)


def _pairs(value: Any, name: str) -> Pairs | None:
    if value is None:
        return None
    given = read.mapping(value, name)
    known = ("rows", "decodes", "unet_s", "vae_s")
    read.only(given, known, known, f"{name}.")
    grids = {
        each: tuple(
            read.numbers(line, f"{name}.{each}[{i}]")
            for i, line in enumerate(read.items(given[each], f"{name}.{each}"))
        )
        for each in ("unet_s", "vae_s")
    }
    return Pairs(
        rows=_rows(given["rows"], f"{name}.rows"), decodes=read.numbers(given["decodes"], f"{name}.decodes"), **grids
    )


def _rows(value: Any, name: str) -> tuple[int, ...]:
    return tuple(read.whole(entry, f"{name}[{i}]", at_least=1) for i, entry in enumerate(read.items(value, name)))


def _skips(value: Any, name: str) -> dict[str, SkipShare]:
    found = {}
    for quality, entry in read.mapping(value, name).items():
        given = read.mapping(entry, f"{name}.{quality}")
        read.only(given, ("first", "refresh"), ("first", "refresh"), f"{name}.{quality}.")
        first = read.number(given["first"], f"{name}.{quality}.first", at_least=0.0)
        found[quality] = SkipShare(first, read.number(given["refresh"], f"{name}.{quality}.refresh", at_least=1.0))
    return found


def _texts(value: Any, name: str) -> tuple[str, ...]:
    return tuple(read.text(entry, f"{name}[{i}]") for i, entry in enumerate(read.items(value, name)))


def _software(value: Any, name: str) -> dict[str, str]:
    return {key: read.text(entry, f"{name}.{key}") for key, entry in read.mapping(value, name).items()}


def _positive(value: Any, name: str) -> int:
    return read.whole(value, name, at_least=1)


def _seconds(value: Any, name: str) -> float:
    return read.number(value, name, at_least=0.0)


_READERS: dict[str, Any] = {
    **dict.fromkeys(("model", "device", "dtype", "executor", "model_hash", "memory_format", "unet_rows"), read.text),
    **dict.fromkeys(("width", "height", "rows_per_sample", "steps"), _positive),
    **dict.fromkeys(("threads", "max_rows"), read.whole),
    **dict.fromkeys(("slot_s", "encode_s", "admit_s", "spread"), _seconds),
    "rows": _rows,
    **dict.fromkeys(("unet_s", "exact_s"), read.numbers),
    "granularities": _granularities,
    "pairs": _pairs,
    "software": _software,
    "skips": _skips,
    "assumptions": _texts,
}
