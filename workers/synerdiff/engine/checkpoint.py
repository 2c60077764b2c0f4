"""What a checkpoint directory holds, checked before any weight is read: every refusal names file and reason."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synerdiff.protocol.errors import ModelError

PIPELINES = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "LatentConsistencyModelPipeline": "sd",
}
_COMPONENTS = {
    "sd": ("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    "sdxl": ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"),
}
_WEIGHTED = ("unet", "vae", "text_encoder", "text_encoder_2")
_STEMS = ("diffusion_pytorch_model", "model")
_PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth", "*.pkl")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A directory that passed the checks.

    ``kind`` is ``sd`` or ``sdxl``; ``weights`` are all its safetensors files, ``variants`` each weighted
    component's variant (``fp16`` or None), ``configs`` the components' configs, ``index`` the
    ``model_index.json``.
    """

    path: Path
    kind: str
    variants: dict[str, str | None]
    index: dict[str, Any]
    configs: dict[str, dict[str, Any]]
    weights: tuple[Path, ...]

    @property
    def weight_bytes(self) -> int:
        """Size of all weight files."""
        return sum(path.stat().st_size for path in self.weights)

    def hash(self) -> str:
        """SHA-256 over every weight file and config, in the order of their names."""
        digest = hashlib.sha256()
        files = {*self.weights, self.path / "model_index.json", *self.path.glob("*/*.json"), *self.path.glob("*/*.txt")}
        for file in sorted(files):
            digest.update(file.relative_to(self.path).as_posix().encode() + b"\0")
            with file.open("rb") as stream:
                while block := stream.read(1 << 22):
                    digest.update(block)
        return digest.hexdigest()


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


def _check_safetensors(path: Path) -> None:
    """Compare the header's promise with the file's size, which finds truncated downloads without reading it."""
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
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ModelError(f"{path} is truncated or damaged: it has {size} bytes and its header promises {expected}")


def _weight_files(folder: Path) -> tuple[list[Path], str | None]:
    """The safetensors files of one component, shards in order, and their variant."""
    for stem in _STEMS:
        for variant in (None, "fp16"):
            infix = f".{variant}" if variant else ""
            single = folder / f"{stem}{infix}.safetensors"
            index = folder / f"{stem}.safetensors.index{infix}.json"
            if single.is_file():
                return [single], variant
            if index.is_file():
                names = sorted(set(read_json(index).get("weight_map", {}).values()))
                return [folder / name for name in names], variant
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder / pickles[0]} is a pickle, which can run code when it is loaded; "
            "only safetensors weights are accepted, so convert it first"
        )
    raise ModelError(f"{folder} holds no safetensors weights")


def _kind(index: dict[str, Any], path: Path) -> str:
    name = index.get("_class_name")
    if name in PIPELINES:
        return PIPELINES[name]
    known = ", ".join(PIPELINES)
    if isinstance(name, str) and re.search(r"3|Flux|DiT|PixArt|Sana|Wan|Transformer", name):
        raise ModelError(
            f"{path / 'model_index.json'} is of a {name}, which denoises with a transformer; "
            f"this engine serves UNet checkpoints ({known})"
        )
    raise ModelError(f"{path / 'model_index.json'} is of a {name}; this engine serves {known}")


def _check_dimensions(path: Path, kind: str, configs: dict[str, dict[str, Any]]) -> None:
    unet, vae = configs["unet"], configs["vae"]
    latent = vae.get("latent_channels", 4)
    if unet.get("in_channels", 4) != latent:
        reason = "it is an inpainting or editing checkpoint" if unet["in_channels"] > latent else "they do not fit"
        raise ModelError(
            f"{path / 'unet/config.json'} takes {unet['in_channels']} latent channels and vae/config.json makes "
            f"{latent}: {reason}"
        )
    text = configs["text_encoder"].get("hidden_size", 768)
    if kind == "sdxl":
        text += configs["text_encoder_2"].get("hidden_size", 1280)
    if unet.get("cross_attention_dim", 1280) != text:
        raise ModelError(
            f"{path / 'unet/config.json'} expects text embeddings of {unet.get('cross_attention_dim')} and the text "
            f"encoders make {text}"
        )
    prediction = configs["scheduler"].get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"{path / 'scheduler/scheduler_config.json'} has prediction_type {prediction}; only epsilon and "
            "v_prediction are served"
        )


def inspect(path: Path) -> Checkpoint:
    """Check a diffusers directory without loading weights. Raises :class:`ModelError`."""
    if path.is_file():
        raise ModelError(f"{path} is a file; give the directory of a diffusers checkpoint")
    if not path.is_dir():
        raise ModelError(f"{path} does not exist")
    index = read_json(path / "model_index.json")
    kind = _kind(index, path)
    configs: dict[str, dict[str, Any]] = {}
    weights: list[Path] = []
    variants: dict[str, str | None] = {}
    for component in _COMPONENTS[kind]:
        folder = path / component
        if not folder.is_dir():
            raise ModelError(f"{folder} is missing: the checkpoint has no {component}")
        if component == "scheduler":
            configs[component] = read_json(folder / "scheduler_config.json")
        if component in _WEIGHTED:
            configs[component] = read_json(folder / "config.json")
            files, variants[component] = _weight_files(folder)
            weights += files
    for file in weights:
        if not file.is_file():
            raise ModelError(f"{file} is missing: a shard that the checkpoint's index names")
        _check_safetensors(file)
    _check_dimensions(path, kind, configs)
    return Checkpoint(path, kind, variants, index, configs, tuple(weights))
