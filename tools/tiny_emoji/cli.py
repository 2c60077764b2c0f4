"""The command line: phases of a run, and what pauses and resumes it."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tools.tiny_emoji import phases
from tools.tiny_emoji.background import quiet_libraries, set_paused, yield_to_others
from tools.tiny_emoji.training.run import Stopped
from tools.tiny_emoji.workspace import Workspace

Phase = Callable[[Workspace, argparse.Namespace], None]

TRAINING: dict[str, Phase] = {
    "tokenizer": phases.tokenizer,
    "vae": phases.vae,
    "latents": phases.latents,
    "unet": phases.unet,
    "vae-decoder": phases.vae_decoder,
    "export": phases.export,
}
MEASURING: dict[str, Phase] = {"psnr": phases.psnr, "grid": phases.grid, "control": phases.control}
_STOPPED = 128 + signal.SIGTERM


def run_all(space: Workspace, options: argparse.Namespace) -> None:
    """Every phase in order; one that is done already is passed over."""
    for phase in (*TRAINING.values(), *MEASURING.values()):
        phase(space, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_emoji", description="Train and measure tiny-emoji.")
    commands = [*TRAINING, *MEASURING, "all", "adopt", "pause", "resume"]
    parser.add_argument("phase", choices=commands, help="what to do; README.md tells what each does")
    parser.add_argument("--out", type=Path, required=True, help="directory of the run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="training processes of one thread each")
    training = parser.add_argument_group("training; each number is a total over all legs")
    training.add_argument("--vae-samples", type=int, default=60_000)
    training.add_argument("--latent-count", type=int, default=40_000, help="composed images to encode")
    training.add_argument("--latent-seed", type=int, default=0, help="another seed adds another file of latents")
    training.add_argument("--flips", type=float, default=0.5, help="share of mirrored objects")
    training.add_argument("--unet-samples", type=int, default=600_000)
    training.add_argument("--export-every", type=int, default=50_000, help="samples between exports for the curve")
    training.add_argument("--decoder-samples", type=int, default=30_000)
    training.add_argument("--checkpoint-minutes", type=float, default=4.0)
    adopting = parser.add_argument_group("adopt")
    adopting.add_argument("--checkpoint", type=Path, help="a UNet checkpoint; default: the weights of --model")
    adopting.add_argument("--latents", type=Path, nargs="*", default=[], help="latents made with the model's VAE")
    measuring = parser.add_argument_group("measuring")
    measuring.add_argument(
        "--model", type=Path, help="default: the run's model, else its last export, else the shipped"
    )
    measuring.add_argument("--guidance", type=float, nargs="+", default=[1.0, 3.0, 6.0])
    measuring.add_argument(
        "--quality", choices=("exact", "balanced", "fast"), default="exact", help="control: class of the images"
    )
    measuring.add_argument("--curve", action="store_true", help="control: every export of the run, not one model")
    measuring.add_argument("--seeds", type=int, default=1, help="control: images of each prompt")
    measuring.add_argument("--against", type=Path, help="control: a control.json to compare with, image by image")
    measuring.add_argument("--prompts", type=int, default=0, help="control: that many of the list; 0 for all")
    measuring.add_argument("--classifier-samples", type=int, default=60_000, help="0: backgrounds alone")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 143 when it was stopped by a signal and can be gone on with."""
    options = _parser().parse_args(arguments)
    space = Workspace(options.out)
    if options.phase in ("pause", "resume"):
        set_paused(space.pause, options.phase == "pause")
        return 0
    yield_to_others()
    quiet_libraries()
    commands: dict[str, Phase] = {**TRAINING, **MEASURING, "all": run_all, "adopt": phases.adopt}
    try:
        commands[options.phase](space, options)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return _STOPPED
    return 0
