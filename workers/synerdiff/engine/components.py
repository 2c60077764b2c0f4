"""Loading one component of a checkpoint that passed the checks, with the library's errors made readable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from synerdiff.engine.checkpoint import Checkpoint
from synerdiff.protocol.errors import ModelError

_CLASSES: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def load_component(checkpoint: Checkpoint, part: str, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Load one module in evaluation mode. Raises :class:`ModelError` naming its directory and the reason."""
    folder = checkpoint.path / part
    name = "dtype" if part.startswith("text") else "torch_dtype"
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    options: dict[str, Any] = {name: dtype, "variant": checkpoint.variants[part], "use_safetensors": True}
    try:
        module, info = _CLASSES[part].from_pretrained(
            str(folder), local_files_only=True, output_loading_info=True, **options
        )
    except Exception as error:
        raise ModelError(f"{folder} cannot be loaded: {_first_line(error)}") from error
    wrong = [*info["missing_keys"], *info["mismatched_keys"]]
    if wrong:
        raise ModelError(f"{folder} does not fit its config.json: {len(wrong)} tensors, the first is {wrong[0]}")
    result: nn.Module = module.to(device).eval().requires_grad_(False)
    return result


def load_tokenizer(folder: Path, positions: int) -> Any:
    """Load a CLIP tokenizer whose texts fit the encoder's ``positions``. Raises :class:`ModelError`."""
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        raise ModelError(f"{folder} cannot be loaded: {_first_line(error)}") from error
    tokenizer.model_max_length = min(tokenizer.model_max_length, positions)  # some checkpoints leave it out
    return tokenizer
