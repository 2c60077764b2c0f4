"""Each phase: what it reads and writes below the run's directory, and its recipe."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from synerdiff.engine.model import shipped_path
from tools.tiny_emoji.background import on_signals, wait_while_paused
from tools.tiny_emoji.measure.classifier import load_judge, save_judge, train_judge
from tools.tiny_emoji.measure.control import measure_control, some_prompts
from tools.tiny_emoji.measure.generate import generate
from tools.tiny_emoji.measure.grid import PROMPTS, draw_grid
from tools.tiny_emoji.measure.paired import paired
from tools.tiny_emoji.measure.psnr import measure_psnr
from tools.tiny_emoji.measure.report import draw_curve, to_markdown
from tools.tiny_emoji.scenes.art import caption_nouns, load_art
from tools.tiny_emoji.scenes.compose import Mix
from tools.tiny_emoji.training.adopt import adopt_checkpoint, adopt_model
from tools.tiny_emoji.training.checkpoint import SharedState, restore
from tools.tiny_emoji.training.flat import Layout
from tools.tiny_emoji.training.latents import write_latents
from tools.tiny_emoji.training.muon import Rates
from tools.tiny_emoji.training.run import Stopped, train
from tools.tiny_emoji.training.task import Recipe
from tools.tiny_emoji.training.tokenizer import write_tokenizer
from tools.tiny_emoji.training.trainer import averaged
from tools.tiny_emoji.training.unet_task import UnetTask
from tools.tiny_emoji.training.vae_task import VaeTask
from tools.tiny_emoji.workspace import Workspace

VAE_RATES, DECODER_RATES = Rates(0.01), Rates(0.006)
UNET_RATES = Rates(0.02, weight_decay=0.01)


def _rest(space: Workspace) -> Callable[[], None]:
    """For loops outside the trainer: wait while paused, raise :class:`Stopped` after a signal."""
    stopped: list[bool] = []
    on_signals(lambda: stopped.append(True), space.pause)

    def rest() -> None:
        wait_while_paused(space.pause, lambda: bool(stopped))
        if stopped:
            raise Stopped("stopped; run the same command again")

    return rest


def tokenizer(space: Workspace, options: argparse.Namespace) -> None:
    """Train the tokenizer, unless there is one."""
    if not space.tokenizer.exists():
        write_tokenizer(space.tokenizer)


def _vae_recipe(space: Workspace, options: argparse.Namespace, phase: str, samples: int, rates: Rates) -> Recipe:
    return Recipe(
        samples=samples,
        rates=rates,
        warm=160,
        decay=0.8,
        floor=0.02,
        average=0.995,
        checkpoint=space.checkpoint(phase),
        pause=space.pause,
        seed=options.seed,
        processes=options.processes,
        checkpoint_s=60 * options.checkpoint_minutes,
    )


def vae(space: Workspace, options: argparse.Namespace) -> None:
    """Train the VAE, unless the run has adopted one."""
    if space.vae.exists() and not space.checkpoint("vae").exists():
        return
    recipe = _vae_recipe(space, options, "vae", options.vae_samples, VAE_RATES)
    train(VaeTask(space.vae, seed=options.seed), recipe, "vae")


def vae_decoder(space: Workspace, options: argparse.Namespace) -> None:
    """Refine the decoder with the encoder frozen; latents and UNet stay valid."""
    recipe = _vae_recipe(space, options, "vae-decoder", options.decoder_samples, DECODER_RATES)
    train(VaeTask(space.refined_vae, base=space.vae, seed=options.seed + 1), recipe, "vae-decoder")


def latents(space: Workspace, options: argparse.Namespace) -> None:
    """Compose and encode one file of latents, unless it is there."""
    path = space.latents(options.latent_seed)
    if path.exists():
        return
    mix = Mix(flips=options.flips)
    write_latents(path, space.vae, caption_nouns(), options.latent_count, options.latent_seed, mix, _rest(space))


def _unet_task(space: Workspace, options: argparse.Namespace) -> UnetTask:
    """The task with its latents' scale: the checkpoint's, else that of the first file of latents."""
    files, checkpoint = tuple(space.latent_files()), space.checkpoint("unet")
    if checkpoint.exists():
        scale = float(torch.load(checkpoint, weights_only=True, mmap=True)["scale"])
    elif files:
        scale = 1 / float(torch.load(files[0], weights_only=True, mmap=True)["std"])
    else:
        raise SystemExit(f"{space.root} holds no latents; run the phase `latents` first")
    return UnetTask(space, files, scale, seed=options.seed)


def unet(space: Workspace, options: argparse.Namespace) -> None:
    """Train UNet and text encoder, exporting along the way."""
    recipe = Recipe(
        samples=options.unet_samples,
        rates=UNET_RATES,
        warm=1600,
        decay=0.6,
        floor=0.03,
        average=0.998,
        checkpoint=space.checkpoint("unet"),
        pause=space.pause,
        seed=options.seed,
        processes=options.processes,
        checkpoint_s=60 * options.checkpoint_minutes,
        export_every=options.export_every,
    )
    train(_unet_task(space, options), recipe, "unet")


def export(space: Workspace, options: argparse.Namespace) -> None:
    """Write the model from the UNet's checkpoint and the best decoder."""
    task = _unet_task(space, options)
    layout = Layout.of(task.modules())
    state = SharedState.zeros(layout.size)
    restore(space.checkpoint("unet"), layout, state)
    task.export(averaged(task, layout, state), state.seen, last=True)
    print(space.model)


def adopt(space: Workspace, options: argparse.Namespace) -> None:
    """Begin a run from earlier work: a model's VAE and tokenizer, a UNet checkpoint or its weights, latents."""
    model = options.model or shipped_path()
    adopt_model(model, space)
    if options.checkpoint is None:
        adopt_checkpoint(model, space)
    else:
        shutil.copyfile(options.checkpoint, space.checkpoint("unet"))
    for number, path in enumerate(options.latents):
        target = space.latents(f"adopted-{number}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _model(space: Workspace, options: argparse.Namespace) -> Path:
    """The model that is measured."""
    if options.model is not None:
        return Path(options.model)
    exports = sorted(space.exports.glob("[0-9]*[0-9]"))
    return next((path for path in (space.model, *reversed(exports)) if path.exists()), shipped_path())


def psnr(space: Workspace, options: argparse.Namespace) -> None:
    """Measure the model's VAE."""
    found = measure_psnr(_model(space, options) / "vae")
    _write(space.root / "psnr.json", found)
    print(", ".join(f"{name} {value:.2f}" for name, value in found.items()))


def grid(space: Workspace, options: argparse.Namespace) -> None:
    """Draw the fixed prompts, one picture for each guidance scale."""
    for scale in options.guidance:
        images = generate(_model(space, options), PROMPTS, scale, rest=_rest(space))
        path = space.root / f"grid-g{scale:g}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_grid(images, PROMPTS).save(path, optimize=True)
        print(path)


def control(space: Workspace, options: argparse.Namespace) -> None:
    """Count how many images follow their held-out prompts."""
    rest, art, model = _rest(space), load_art(caption_nouns()), _model(space, options)
    judge, kept = None, space.root / "classifier.pt"
    if kept.exists():
        judge = load_judge(kept)
    elif options.classifier_samples:
        judge = train_judge(art, model / "vae", options.classifier_samples, rest)
        save_judge(judge, kept)
    exports = {path.name: path for path in sorted(space.exports.glob("[0-9]*[0-9]"))}
    models: dict[str, Path | None] = {**exports} if options.curve else {model.name: model}
    document = measure_control(
        models,
        some_prompts(options.prompts),
        art,
        model / "vae",
        judge,
        guidance=options.guidance,
        rest=rest,
        quality=options.quality,
        seeds=options.seeds,
    )
    if options.against is not None:
        other = json.loads(options.against.read_text(encoding="utf-8"))
        document |= {"against": other["quality"], "paired": paired(document, other)}
    name = "control-curve" if options.curve else "control"
    _write(space.root / f"{name}.json", document)
    (space.root / f"{name}.md").write_text(to_markdown(document), encoding="utf-8")
    print(to_markdown(document))
    if options.curve:
        draw_curve(document, space.root / f"{name}.png")


def _write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
