"""A component's safetensors files: which they are, and what their headers promise, without reading a weight."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from synerdiff.protocol.errors import ModelError

_STEMS = ("diffusion_pytorch_model", "model")
_PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth", "*.pkl")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises :class:`ModelError` naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing, so this is no complete diffusers checkpoint") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} does not hold a JSON object")
    return value


def is_pickle(path: Path) -> bool:
    """Whether a file's name says that it is pickled."""
    return any(path.match(pattern) for pattern in _PICKLES)


def pickles(folder: Path) -> list[str]:
    """Names of the pickled weights in a folder, which are never loaded."""
    return sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))


def refuse_pickle(path: Path) -> ModelError:
    """The error that says why a pickle is not loaded."""
    return ModelError(
        f"{path} is a pickle, which can run code when it is loaded; "
        "only safetensors weights are accepted, so convert it first"
    )


def weight_files(folder: Path) -> tuple[list[Path], str | None]:
    """The safetensors files of one component, shards in order, and their variant. Raises :class:`ModelError`."""
    for stem in _STEMS:
        for variant in (None, "fp16"):
            infix = f".{variant}" if variant else ""
            single = folder / f"{stem}{infix}.safetensors"
            index = folder / f"{stem}.safetensors.index{infix}.json"
            if single.is_file():
                return [single], variant
            if index.is_file():
                return _shards(index), variant
    if found := pickles(folder):
        raise refuse_pickle(folder / found[0])
    raise ModelError(f"{folder} holds no safetensors weights")


def _shards(index: Path) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ModelError(f"{index} has no weight_map from tensors to files")
    files = [index.parent / name for name in sorted(set(names.values()))]
    for file in files:
        if not file.is_file():
            raise ModelError(f"{file} is missing: a shard that the checkpoint's index names")
    return files


def parameter_count(path: Path) -> int:
    """How many numbers a safetensors file holds, by its header.

    The header's promise is compared with the file's size, which finds truncated downloads. Raises
    :class:`ModelError`.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if length + 8 > size:
            raise ModelError(f"{path} is truncated: its header does not fit into {size} bytes")
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            raise ModelError(f"{path} is not a safetensors file: its header is not JSON") from None
    try:
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + length + max((entry["data_offsets"][1] for entry in tensors), default=0)
        count: int = sum(math.prod(entry["shape"]) for entry in tensors)
    except (AttributeError, KeyError, IndexError, TypeError):
        raise ModelError(f"{path} is not a safetensors file: its header does not list tensors") from None
    if size != expected:
        raise ModelError(f"{path} is truncated or damaged: it has {size} bytes and its header promises {expected}")
    return count
