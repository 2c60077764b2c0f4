"""What a checkpoint directory holds, checked before any weight is read: every refusal names file and reason."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synerdiff.engine.weights import is_pickle, parameter_count, pickles, read_json, refuse_pickle, weight_files
from synerdiff.protocol import ModelEntry, pool_of
from synerdiff.protocol.errors import ModelError
from synerdiff.protocol.job import SAMPLERS

PIPELINES = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "LatentConsistencyModelPipeline": "sd",
}
_COMPONENTS = {
    "sd": ("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    "sdxl": ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"),
}
_CLASSES = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
_WEIGHTED = ("unet", "vae", "text_encoder", "text_encoder_2")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A directory that passed the checks.

    ``kind`` is ``sd`` or ``sdxl``; ``weights`` are all its safetensors files, ``variants`` each weighted
    component's variant (``fp16`` or None), ``configs`` the components' configs, ``index`` the
    ``model_index.json``, ``parameters`` counts each component's weights.
    """

    path: Path
    kind: str
    variants: dict[str, str | None]
    index: dict[str, Any]
    configs: dict[str, dict[str, Any]]
    weights: tuple[Path, ...]
    parameters: dict[str, int]

    @property
    def weight_bytes(self) -> int:
        """Size of all weight files."""
        return sum(path.stat().st_size for path in self.weights)

    @property
    def family(self) -> str:
        """``sd1``, ``sd2``, ``sdxl``, or ``lcm`` for a UNet with a guidance embedding."""
        unet = self.configs["unet"]
        if unet.get("time_cond_proj_dim") is not None:
            return "lcm"
        if self.kind == "sdxl":
            return "sdxl"
        return "sd2" if unet.get("use_linear_projection") else "sd1"

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

    def entry(self, name: str, model_hash: str) -> ModelEntry:
        """What the catalogue says of it under ``name``."""
        multiple = 2 ** (len(self.configs["vae"].get("block_out_channels", [0])) - 1)
        sample_size = self.configs["unet"].get("sample_size") or 64
        height, width = (sample_size, sample_size) if isinstance(sample_size, int) else sample_size
        distilled = self.family == "lcm"
        return ModelEntry(
            name=name,
            pool=pool_of(name),
            family=self.family,
            default_width=width * multiple,
            default_height=height * multiple,
            latent_multiple=multiple,
            samplers=("lcm",) if distilled else SAMPLERS,
            guidance=not distilled,
            model_hash=model_hash,
        )


def _kind(index: dict[str, Any], path: Path) -> str:
    name = index.get("_class_name")
    if isinstance(name, str) and name in PIPELINES:
        return PIPELINES[name]
    known = ", ".join(PIPELINES)
    if isinstance(name, str) and re.search(r"3|Flux|DiT|PixArt|Sana|Wan|Transformer", name):
        raise ModelError(
            f"{path / 'model_index.json'} is of a {name}, which denoises with a transformer; "
            f"this engine serves UNet checkpoints ({known})"
        )
    raise ModelError(f"{path / 'model_index.json'} is of a {name}; this engine serves {known}")


def _number(path: Path, configs: dict[str, dict[str, Any]], part: str, field: str, default: int) -> int:
    """A whole number of a component's config; ``default`` where the config leaves it out."""
    value = configs[part].get(field, default)
    if isinstance(value, list) and len(set(map(str, value))) == 1:
        value = value[0]  # one for each block, all the same
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelError(
            f"{path / part / 'config.json'} has {field} {value!r:.60}, which is no number that can be used"
        )
    return value


def _check_classes(path: Path, configs: dict[str, dict[str, Any]]) -> None:
    for part, served in _CLASSES.items():
        name = configs[part].get("_class_name", served)
        if name != served:
            raise ModelError(f"{path / part / 'config.json'} is of a {name}; this engine serves {served} there")


def _check_latents(path: Path, configs: dict[str, dict[str, Any]]) -> None:
    latent = _number(path, configs, "vae", "latent_channels", 4)
    taken = _number(path, configs, "unet", "in_channels", 4)
    if taken != latent:
        reason = "it is an inpainting or editing checkpoint" if taken > latent else "they do not fit"
        raise ModelError(
            f"{path / 'unet/config.json'} takes {taken} latent channels and vae/config.json makes {latent}: {reason}"
        )
    given = _number(path, configs, "unet", "out_channels", 4)
    if given != latent:
        raise ModelError(
            f"{path / 'unet/config.json'} gives {given} latent channels and vae/config.json takes {latent}: "
            "they do not fit"
        )


def _check_text(path: Path, kind: str, configs: dict[str, dict[str, Any]]) -> None:
    made = _number(path, configs, "text_encoder", "hidden_size", 768)
    if kind == "sdxl":
        made += _number(path, configs, "text_encoder_2", "hidden_size", 1280)
    expected = _number(path, configs, "unet", "cross_attention_dim", 1280)
    if expected != made:
        raise ModelError(
            f"{path / 'unet/config.json'} expects text embeddings of {expected} (cross_attention_dim) and the text "
            f"encoders make {made} (hidden_size)"
        )
    if kind != "sdxl" or configs["unet"].get("addition_embed_type") != "text_time":
        return
    pooled = _number(path, configs, "text_encoder_2", "projection_dim", 1280)
    taken = _number(path, configs, "unet", "projection_class_embeddings_input_dim", 2816)
    times = 6 * _number(path, configs, "unet", "addition_time_embed_dim", 256)
    if taken != pooled + times:
        raise ModelError(
            f"{path / 'unet/config.json'} expects {taken} added values (projection_class_embeddings_input_dim); "
            f"text_encoder_2 makes {pooled} and the sizes {times}"
        )


def _check_prediction(path: Path, configs: dict[str, dict[str, Any]]) -> None:
    prediction = configs["scheduler"].get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"{path / 'scheduler/scheduler_config.json'} has prediction_type {prediction}; only epsilon and "
            "v_prediction are served"
        )


def _check_directory(path: Path) -> None:
    if path.is_file() and is_pickle(path):
        raise refuse_pickle(path)
    if path.is_file():
        raise ModelError(f"{path} is a file; give the directory of a diffusers checkpoint")
    if not path.is_dir():
        raise ModelError(f"{path} does not exist")
    if not (path / "model_index.json").exists() and (found := pickles(path)):
        raise refuse_pickle(path / found[0])


def inspect(path: Path) -> Checkpoint:
    """Check a diffusers directory without loading weights. Raises :class:`ModelError`."""
    _check_directory(path)
    index = read_json(path / "model_index.json")
    kind = _kind(index, path)
    configs: dict[str, dict[str, Any]] = {}
    weights: list[Path] = []
    variants: dict[str, str | None] = {}
    parameters: dict[str, int] = {}
    for component in _COMPONENTS[kind]:
        folder = path / component
        if not folder.is_dir():
            raise ModelError(f"{folder} is missing: the checkpoint has no {component}")
        if component == "scheduler":
            configs[component] = read_json(folder / "scheduler_config.json")
        if component in _WEIGHTED:
            configs[component] = read_json(folder / "config.json")
            files, variants[component] = weight_files(folder)
            weights += files
            parameters[component] = sum(parameter_count(file) for file in files)
    _check_classes(path, configs)
    _check_latents(path, configs)
    _check_text(path, kind, configs)
    _check_prediction(path, configs)
    return Checkpoint(path, kind, variants, index, configs, tuple(weights), parameters)
