"""Averaged weights to a directory in Stable Diffusion's format: half precision, safetensors, about 12 MB."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import nn

from tools.tiny_emoji.training.networks import NOISE_SCHEDULE, load_tokenizer, load_vae


def write_model(folder: Path, text: nn.Module, unet: nn.Module, tokenizer: Path, vae: Path, scale: float) -> None:
    """Write the model beside ``folder`` and move it there. Converts ``text`` and ``unet`` to half precision."""
    autoencoder = load_vae(vae)
    autoencoder.register_to_config(scaling_factor=scale)
    scheduler: Any = DDIMScheduler
    kind: Any = StableDiffusionPipeline
    pipeline = kind(
        vae=autoencoder,
        text_encoder=text,
        tokenizer=load_tokenizer(tokenizer),
        unet=unet,
        scheduler=scheduler(set_alpha_to_one=True, **NOISE_SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    unfinished = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(unfinished, safe_serialization=True)
    # As it was made: saved anew it would say how it was loaded, and lose the files that older versions want.
    shutil.rmtree(unfinished / "tokenizer")
    shutil.copytree(tokenizer, unfinished / "tokenizer")
    # transformers 5 loads a model in its stored type and diffusers in float32, unless the config says so.
    _edit(unfinished / "text_encoder" / "config.json", dtype="float32")
    _edit(unfinished / "vae" / "config.json", _name_or_path="vae")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def _edit(config: Path, **changes: str) -> None:
    fields = json.loads(config.read_text(encoding="utf-8")) | changes
    config.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
