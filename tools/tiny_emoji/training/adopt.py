"""Begin from earlier work: a published model, with or without the checkpoint that it came from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tools.tiny_emoji.training.networks import load_vae
from tools.tiny_emoji.workspace import Workspace

_WEIGHTS = {"text": "text_encoder/model.safetensors", "unet": "unet/diffusion_pytorch_model.safetensors"}
_PREFIX = "text_model."


def adopt_model(model: Path, space: Workspace) -> None:
    """Take the model's VAE, in float32, and its tokenizer."""
    load_vae(model / "vae").save_pretrained(space.vae)
    shutil.copytree(model / "tokenizer", space.tokenizer, dirs_exist_ok=True)


def adopt_checkpoint(model: Path, space: Workspace) -> None:
    """Make a UNet checkpoint of the model's weights: no moments, no samples seen, so that a new leg begins."""
    found = {name: load_file(model / path) for name, path in _WEIGHTS.items()}
    content: dict[str, Any] = {
        name: {key.removeprefix(_PREFIX): value.float() for key, value in weights.items()}
        for name, weights in found.items()
    }
    scale = json.loads((model / "vae" / "config.json").read_text(encoding="utf-8"))["scaling_factor"]
    content |= {"opt": {}, "step": 0, "seen": 0, "scale": float(scale)}
    space.root.mkdir(parents=True, exist_ok=True)
    torch.save({**content, "ema": None}, space.checkpoint("unet"))
