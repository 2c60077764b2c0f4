"""A checkpoint loaded onto one device: the modules, what the catalogue says of it, and its noise tables."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from synerdiff.engine.calibration import Calibration, default_calibration, load_calibration
from synerdiff.engine.checkpoint import Checkpoint, inspect
from synerdiff.engine.components import load_component, load_tokenizer
from synerdiff.engine.decode.kernels import PLAIN, Kernels, PackedKernels
from synerdiff.engine.kernel_cache import widen_kernel_cache
from synerdiff.engine.lean import lean
from synerdiff.engine.packing import packable, packed
from synerdiff.engine.precision import choose_dtype, vae_dtype
from synerdiff.engine.schedule import Tables
from synerdiff.protocol import ModelEntry
from synerdiff.protocol.errors import ModelError

SHIPPED_NAME = "tiny-emoji"


@dataclass(slots=True)
class LoadedModel:
    """One model on one device, ready for the engine.

    ``family`` is ``sd1``, ``sd2``, ``sdxl`` or ``lcm``. ``dtype`` is what the UNet and text encoders run in;
    the VAE runs in ``vae_dtype``, which is float32 for a VAE that asks for it (``force_upcast``) and on a CPU.
    ``text_encoders`` and ``tokenizers`` are in the order in which their embeddings are joined.
    ``guidance_width`` is the width of a distilled model's guidance embedding, None where guidance is two rows.
    ``calibration`` says how far its guidance may be skipped.
    ``zero_empty_negative``: an empty negative prompt means zeros, not the embedding of "".
    """

    name: str
    family: str
    unet: nn.Module
    vae: nn.Module
    text_encoders: tuple[nn.Module, ...]
    tokenizers: tuple[Any, ...]
    tables: Tables
    entry: ModelEntry
    model_hash: str
    device: torch.device
    dtype: torch.dtype
    vae_dtype: torch.dtype
    latent_channels: int = 4
    calibration: Calibration = field(default_factory=default_calibration)
    guidance_width: int | None = None
    zero_empty_negative: bool = False
    _float32_unet: nn.Module | None = field(default=None, init=False, repr=False)
    _packed_unet: nn.Module | None = field(default=None, init=False, repr=False)
    _packed_kernels: PackedKernels = field(default_factory=PackedKernels, init=False, repr=False)
    _packs_vae: bool = field(default=False, init=False, repr=False)

    @property
    def noise_dtype(self) -> torch.dtype:
        """What noise is drawn in: float16 where that is the model's, as the pipeline does it, float32 elsewhere."""
        return self.dtype if self.dtype == torch.float16 else torch.float32

    def laid_out(self) -> None:
        """Take note of the memory format: in channels-last on the CPU the engine runs UNet and decodes packed."""
        self._packed_unet = None
        if packable(self.unet):
            twin = lean(self.unet)
            self._packed_unet = packed(self.unet) if twin is None else packed(twin, loose="lean")
        self._packs_vae = packable(self.vae)
        self._packed_kernels.forget()

    def kernels(self, quality: str) -> Kernels:
        """How to decode an image of a class: an ``exact`` one to the pipeline's last bit."""
        return self._packed_kernels if self._packs_vae and quality != "exact" else PLAIN

    def unet_in(self, dtype: torch.dtype) -> nn.Module:
        """The UNet to call in ``dtype``: its own, packed where that was found to pay (see :meth:`laid_out`), or a
        float32 copy that is made when first needed and kept."""
        if dtype == self.dtype:
            return self.unet if self._packed_unet is None else self._packed_unet
        if self._float32_unet is None:
            self._float32_unet = copy.deepcopy(self.unet).to(dtype)
        return self._float32_unet


def shipped_path() -> Path:
    """Directory of the checkpoint that comes with the package."""
    return Path(__file__).parent / "shipped" / SHIPPED_NAME


def choose_device(device: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device. Raises :class:`ModelError`."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ModelError(f"device must be auto, cpu, cuda or cuda:N; got {device!r}") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device is {device}, but this machine has no usable CUDA device")
    return chosen


def _schedule_config(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The scheduler config with the changes that ``StableDiffusionPipeline`` makes to it without a word."""
    config = checkpoint.configs["scheduler"]
    return config if checkpoint.kind == "sdxl" else {**config, "steps_offset": 1, "clip_sample": False}


def resolve(path: str | Path | None, revision: str | None) -> Path:
    """A local directory, the shipped model, or a hub repository at a pinned revision. Raises :class:`ModelError`."""
    if path is None:
        return shipped_path()
    local = Path(path).expanduser()
    if local.exists() or isinstance(path, Path) or path.count("/") != 1 or path.startswith((".", "/", "~")):
        return local
    if not revision:
        raise ModelError(f"{path} is no directory here, and as a hub id it needs a pinned revision (a commit hash)")
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ModelError(
            f"the revision of {path} must be a commit hash of 40 hexadecimal digits, since a branch or tag may move; "
            f"got {revision!r:.60}"
        )
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.txt", "*.safetensors"]
        return Path(snapshot_download(path, revision=revision, allow_patterns=patterns))
    except Exception as error:
        raise ModelError(f"{path} at revision {revision} cannot be fetched from the hub: {error}") from error


def load_model(
    path: str | Path | None,
    *,
    name: str = SHIPPED_NAME,
    device: str = "auto",
    revision: str | None = None,
    threads: int = 0,
    expected_hash: str | None = None,
    dtype: str = "auto",
) -> LoadedModel:
    """Load a checkpoint: a local directory, a hub id with its pinned ``revision``, or None for the shipped one.

    ``dtype`` is ``auto`` (float32 on a CPU, float16 on CUDA), ``float32``, ``float16`` or ``bfloat16``; the VAE is in
    float32 on a CPU, and where its config asks for that. ``expected_hash`` refuses weights that have another hash.
    ``threads`` > 0 sets torch's threads for the calling thread. Raises :class:`ModelError` with a sentence that names
    the file and what is wrong with it.
    """
    target = choose_device(device)
    precision = choose_dtype(dtype, target)
    widen_kernel_cache()
    if threads > 0:
        torch.set_num_threads(threads)
    checkpoint = inspect(resolve(path, revision))
    decodes = vae_dtype(precision, target, upcast=bool(checkpoint.configs["vae"].get("force_upcast")))
    encoders = [part for part in ("text_encoder", "text_encoder_2") if part in checkpoint.configs]
    model_hash = checkpoint.hash()
    if expected_hash and model_hash != expected_hash.lower():
        raise ModelError(f"{checkpoint.path} has the hash {model_hash}, and model_hash asks for {expected_hash}")
    return LoadedModel(
        name=name,
        family=checkpoint.family,
        unet=load_component(checkpoint, "unet", target, precision),
        vae=load_component(checkpoint, "vae", target, decodes),
        text_encoders=tuple(load_component(checkpoint, part, target, precision) for part in encoders),
        tokenizers=tuple(
            load_tokenizer(
                checkpoint.path / part.replace("text_encoder", "tokenizer"),
                checkpoint.configs[part].get("max_position_embeddings", 77),
            )
            for part in encoders
        ),
        tables=Tables(_schedule_config(checkpoint)),
        entry=checkpoint.entry(name, model_hash),
        model_hash=model_hash,
        device=target,
        dtype=precision,
        vae_dtype=decodes,
        calibration=load_calibration(checkpoint.path, model_hash),
        latent_channels=checkpoint.configs["unet"].get("in_channels", 4),
        guidance_width=checkpoint.configs["unet"].get("time_cond_proj_dim"),
        zero_empty_negative=bool(checkpoint.kind == "sdxl" and checkpoint.index.get("force_zeros_for_empty_prompt")),
    )
