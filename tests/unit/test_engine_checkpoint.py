"""Bad checkpoints are refused with a sentence that names the file and the reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from benchmarks.checkpoints import make_checkpoint
from synerdiff.engine.checkpoint import inspect
from synerdiff.engine.model import load_model, resolve, shipped_path
from synerdiff.protocol.errors import ModelError
from synerdiff.workers.engines import build
from synerdiff.workers.messages import EngineSpec

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the shipped checkpoint, to be spoiled."""
    return Path(shutil.copytree(shipped_path(), tmp_path / "model"))


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def as_pickle(path: Path) -> None:
    (path / UNET).rename(path / "unet/diffusion_pytorch_model.bin")


def without_vae(path: Path) -> None:
    shutil.rmtree(path / "vae")


def truncated(path: Path) -> None:
    whole = (path / UNET).read_bytes()
    (path / UNET).write_bytes(whole[: len(whole) // 2])


def half_a_header(path: Path) -> None:
    (path / UNET).write_bytes((path / UNET).read_bytes()[:100])


def no_weights(path: Path) -> None:
    (path / UNET).unlink()


def stable_diffusion_3(path: Path) -> None:
    change_json(path / "model_index.json", _class_name="StableDiffusion3Pipeline")


def flux(path: Path) -> None:
    change_json(path / "model_index.json", _class_name="FluxPipeline")


def inpainting(path: Path) -> None:
    change_json(path / "unet/config.json", in_channels=9)


def other_text_width(path: Path) -> None:
    change_json(path / "unet/config.json", cross_attention_dim=768)


def other_latents(path: Path) -> None:
    change_json(path / "vae/config.json", latent_channels=16)


def learns_the_variance(path: Path) -> None:
    change_json(path / "unet/config.json", out_channels=8)


def words_for_numbers(path: Path) -> None:
    change_json(path / "unet/config.json", in_channels="four")


def other_vae(path: Path) -> None:
    change_json(path / "vae/config.json", _class_name="AutoencoderTiny")


def header_without_tensors(path: Path) -> None:
    header = b'{"a": 7}'
    (path / UNET).write_bytes(len(header).to_bytes(8, "little") + header)


def shard_is_missing(path: Path) -> None:
    (path / UNET).rename(path / "unet/part-1.safetensors")
    weight_map = {"a": "part-1.safetensors", "b": "part-2.safetensors"}
    index = path / "unet/diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))


def one_old_file(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()
    (path / "v1-5-pruned.ckpt").write_bytes(b"PK")


def predicts_samples(path: Path) -> None:
    change_json(path / "scheduler/scheduler_config.json", prediction_type="sample")


def broken_index(path: Path) -> None:
    (path / "model_index.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "file", "reason"),
    [
        (as_pickle, "diffusion_pytorch_model.bin", "is a pickle"),
        (without_vae, "vae", "is missing: the checkpoint has no vae"),
        (truncated, "diffusion_pytorch_model.safetensors", "is truncated or damaged"),
        (half_a_header, "diffusion_pytorch_model.safetensors", "is truncated"),
        (no_weights, "unet", "holds no safetensors weights"),
        (stable_diffusion_3, "model_index.json", "StableDiffusion3Pipeline.*transformer"),
        (flux, "model_index.json", "FluxPipeline.*transformer"),
        (inpainting, "unet/config.json", "takes 9 latent channels.*inpainting"),
        (other_text_width, "unet/config.json", "expects text embeddings of 768.*make 128"),
        (other_latents, "unet/config.json", "takes 4 latent channels.*makes 16: they do not fit"),
        (learns_the_variance, "unet/config.json", "gives 8 latent channels.*takes 4"),
        (words_for_numbers, "unet/config.json", "in_channels 'four'"),
        (other_vae, "vae/config.json", "AutoencoderTiny.*AutoencoderKL"),
        (header_without_tensors, "diffusion_pytorch_model.safetensors", "does not list tensors"),
        (shard_is_missing, "part-2.safetensors", "is missing: a shard"),
        (one_old_file, "v1-5-pruned.ckpt", "is a pickle"),
        (predicts_samples, "scheduler_config.json", "prediction_type sample"),
        (broken_index, "model_index.json", "cannot be read as JSON"),
    ],
)
def test_a_bad_checkpoint_is_refused(copied: Path, spoil: Callable[[Path], None], file: str, reason: str) -> None:
    spoil(copied)
    with pytest.raises(ModelError, match=f"{file}.*{reason}") as refused:
        inspect(copied)
    with pytest.raises(ModelError) as at_start:
        build(EngineSpec("m", str(copied), device="cpu"))  # what a worker runs before it registers
    assert str(at_start.value) == str(refused.value)


def test_weights_that_do_not_fit_their_config_are_refused(copied: Path) -> None:
    change_json(copied / "vae/config.json", block_out_channels=[16, 32, 48, 96])
    with pytest.raises(ModelError, match=r"vae cannot be loaded|vae does not fit"):
        load_model(copied, device="cpu")


def test_a_missing_tensor_is_not_made_up(copied: Path) -> None:
    tensors = load_file(copied / UNET)
    tensors.pop("conv_in.weight")
    save_file(tensors, copied / UNET)
    with pytest.raises(ModelError, match=r"unet.*conv_in\.weight"):
        load_model(copied, device="cpu")


def test_text_encoders_that_do_not_fit_sdxl_are_refused(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "xl", "sdxl")
    change_json(path / "text_encoder_2/config.json", projection_dim=48)
    with pytest.raises(ModelError, match=r"unet/config\.json expects 80 added values.*makes 48 and the sizes 48"):
        inspect(path)


def test_a_pickled_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"PK")
    with pytest.raises(ModelError, match=r"model\.ckpt is a pickle"):
        load_model(tmp_path / "model.ckpt", device="cpu")


def test_other_weights_than_the_pinned_ones_are_refused() -> None:
    with pytest.raises(ModelError, match=r"tiny-emoji has the hash [0-9a-f]{64}, and model_hash asks for abc"):
        load_model(None, device="cpu", expected_hash="abc")
    pinned = inspect(shipped_path()).hash().upper()
    assert load_model(None, device="cpu", expected_hash=pinned).model_hash == pinned.lower()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere does not exist"):
        load_model(tmp_path / "nowhere")


def test_a_hub_id_needs_a_revision() -> None:
    with pytest.raises(ModelError, match=r"some/model.*needs a pinned revision"):
        load_model("some/model")


@pytest.mark.parametrize("revision", ["main", "v1.0", "../main", "abc123", "F" * 40])
def test_a_revision_that_can_move_is_refused(revision: str) -> None:
    with pytest.raises(ModelError, match=r"revision of some/model must be a commit hash.*may move; got"):
        load_model("some/model", revision=revision)


def test_a_pinned_revision_comes_from_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cached, commit = tmp_path / "models--some--model/snapshots", "0123456789" * 4
    shutil.copytree(shipped_path(), cached / commit)

    assert resolve("some/model", commit) == cached / commit
    with pytest.raises(ModelError, match=r"some/model at revision f{40} cannot be fetched from the hub"):
        resolve("some/model", "f" * 40)


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(ModelError, match=r"device must be.*got 'abacus'"):
        load_model(None, device="abacus")


def test_the_hash_follows_the_weights(copied: Path) -> None:
    before = inspect(copied).hash()
    assert before == inspect(shipped_path()).hash()
    change_json(copied / "scheduler/scheduler_config.json", beta_end=0.021)
    assert inspect(copied).hash() != before


def test_the_shipped_model_is_small_and_complete() -> None:
    checkpoint = inspect(shipped_path())
    assert checkpoint.weight_bytes < 14 * 2**20
    assert {path.parent.name for path in checkpoint.weights} == {"unet", "vae", "text_encoder"}
