"""Small random checkpoints of every family, in Stable Diffusion's block structure, built on the fly.

Their images mean nothing; their arithmetic is that of the real ones: attention in the VAE, 32 norm groups,
cross-attention blocks, both text encoders of SDXL, the guidance embedding of LCM.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

FAMILIES = ("sd1", "sd2", "sdxl", "lcm", "lcm-xl", "turbo", "sd-turbo")
LARGE = ("sdxl", "lcm-xl", "turbo")
OPENCLIP = ("sd2", "sd-turbo")
_TURBO = {"turbo": "EulerAncestralDiscreteScheduler", "sd-turbo": "EulerDiscreteScheduler"}
_WIDTH = 32


def make_checkpoint(path: Path, family: str = "sd1", *, prediction: str | None = None, seed: int = 0) -> Path:
    """Save a random checkpoint of ``family`` under ``path`` (64x64 images, latents of 8x8) and return ``path``.

    ``prediction`` defaults to what the family has: v-prediction for SD 2, epsilon for the others. ``lcm-xl`` and
    ``turbo`` are SDXL with a guidance embedding, and with the scheduler of SDXL-Turbo; ``sd-turbo`` is SD 2 that
    predicts epsilon with the scheduler of SD-Turbo.
    """
    torch.manual_seed(seed)
    prediction = prediction or ("v_prediction" if family == "sd2" else "epsilon")
    tokenizer = _tokenizer(path / "tokenizer")
    plain: Any = StableDiffusionPipeline
    xl: Any = StableDiffusionXLPipeline
    common: dict[str, Any] = {
        "unet": _unet(family),
        "vae": _vae(),
        "scheduler": _scheduler(prediction),
        "tokenizer": tokenizer,
        "text_encoder": CLIPTextModel(_text_config("gelu" if family in OPENCLIP else "quick_gelu")),
    }
    if family in LARGE:
        encoder_2 = CLIPTextModelWithProjection(_text_config("gelu", projection=_WIDTH))
        pipeline = xl(text_encoder_2=encoder_2, tokenizer_2=tokenizer, **common)
    else:
        extras = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline = plain(**common, **extras)
    pipeline.save_pretrained(path, safe_serialization=True)
    if family in _TURBO:
        _as_turbo(path, _TURBO[family])
    return path


def _as_turbo(path: Path, name: str) -> None:
    """Give a checkpoint a Turbo repository's scheduler, which keeps what other schedulers read from its config."""
    for file, change in (
        ("scheduler/scheduler_config.json", {"_class_name": name, "timestep_spacing": "trailing"}),
        ("model_index.json", {"scheduler": ["diffusers", name]}),
    ):
        config = json.loads((path / file).read_text())
        (path / file).write_text(json.dumps(config | change))


def _unet(family: str) -> Any:
    options: dict[str, Any] = {"attention_head_dim": 2, "cross_attention_dim": _WIDTH}
    if family in OPENCLIP:
        options["use_linear_projection"] = True
    if family.startswith("lcm"):
        options["time_cond_proj_dim"] = 64
    if family in LARGE:
        options |= {
            "use_linear_projection": True,
            "cross_attention_dim": 2 * _WIDTH,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + _WIDTH,
            "transformer_layers_per_block": (1, 2),
        }
    kind: Any = UNet2DConditionModel
    return kind(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D")
        if family not in LARGE
        else ("DownBlock2D", _CROSS_DOWN),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D") if family not in LARGE else (_CROSS_UP, "UpBlock2D"),
        norm_num_groups=32,
        **options,
    )


_CROSS_DOWN, _CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"


def _vae() -> Any:
    kind: Any = AutoencoderKL
    return kind(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=32,
        sample_size=64,
        scaling_factor=0.18215,
    )


def _scheduler(prediction: str) -> Any:
    kind: Any = DDIMScheduler
    return kind(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
    )


def _text_config(activation: str, projection: int = _WIDTH) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=1000,
        hidden_size=_WIDTH,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=projection,
        hidden_act=activation,
        bos_token_id=998,
        eos_token_id=999,
        pad_token_id=999,
    )


def _tokenizer(path: Path) -> CLIPTokenizer:
    """A tokenizer of single letters in CLIP's form."""
    path.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {word: number for number, word in enumerate(words)}
    vocabulary |= {"<|startoftext|>": 998, "<|endoftext|>": 999}
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    (path / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(path / "vocab.json"), str(path / "merges.txt"), model_max_length=77)
