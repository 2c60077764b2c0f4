"""What cutting a decode costs: ``python -m benchmarks.chunking``.

For the shipped model's VAE and for random ones of Stable Diffusion's and SDXL's shape, a line for each granularity:
chunks, the largest chunk's share of a decode, CPU time beyond the plain ``vae.decode``, the largest difference of any
value of the image in [0, 1], and the memory held between chunks. Times are CPU seconds of one thread, decodes taking
turns, medians over the rounds, so that other processes on the machine disturb them little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from synerdiff.engine.decode import GRANULARITIES, ChunkedDecode, to_image
from synerdiff.engine.model import load_model

SD_CHANNELS = (128, 256, 512, 512)
BLOCKS = len(SD_CHANNELS)
NAMES = ("shipped", "SD-shaped", "SDXL-shaped")


@dataclass(frozen=True, slots=True)
class Line:
    """One granularity of one VAE at one size; ``extra_cpu`` is relative to the plain decode."""

    vae: str
    size: str
    granularity: str
    chunks: int
    largest_share: float
    decode_cpu_s: float
    extra_cpu: float
    max_abs_diff: float
    held_mib: float


def sd_vae(**config: Any) -> Any:
    """A random AutoencoderKL of Stable Diffusion's shape."""
    torch.manual_seed(0)
    build: Any = AutoencoderKL
    return build(
        block_out_channels=SD_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * BLOCKS,
        up_block_types=("UpDecoderBlock2D",) * BLOCKS,
        layers_per_block=2,
        **config,
    ).eval()


def subject(name: str, sdxl_size: int) -> tuple[Any, int]:
    """The VAE of a name, with the side of the image in pixels."""
    if name == "shipped":
        model = load_model(None, device="cpu")
        return model.vae, model.entry.default_width
    if name == "SD-shaped":
        return sd_vae(), 512
    return sd_vae(scaling_factor=0.13025, force_upcast=True), sdxl_size


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU time of this thread for a call."""
    begun = time.thread_time()
    call()
    return time.thread_time() - begun


def run_chunks(vae: Any, latents: Tensor, granularity: str) -> tuple[list[float], Tensor, int]:
    """Decode and return each chunk's CPU time, the image, and the most bytes held between chunks."""
    decode, seconds, held = ChunkedDecode(vae, latents, granularity), [], 0
    while not decode.done:
        seconds.append(cpu_seconds(lambda: decode.run(1)))
        held = max(held, 0 if decode.done else decode.held_bytes)
    return seconds, decode.result(), held


@torch.inference_mode()
def measure(name: str, vae: Any, size: int, rounds: int) -> list[Line]:
    """All granularities of one VAE, taking turns with the plain decode; each decodes once before to warm up."""
    side = size // 2 ** (len(vae.config.block_out_channels) - 1)
    latents = torch.randn(1, vae.config.latent_channels, side, side, generator=torch.Generator().manual_seed(0))
    plain: list[float] = []
    runs: dict[str, list[list[float]]] = {each: [] for each in GRANULARITIES}
    diffs, held = dict.fromkeys(GRANULARITIES, 0.0), dict.fromkeys(GRANULARITIES, 0)
    whole = to_image(vae.decode(latents).sample)
    for _ in range(rounds):
        plain.append(cpu_seconds(lambda: to_image(vae.decode(latents).sample)))
        for each in GRANULARITIES:
            seconds, image, held[each] = run_chunks(vae, latents, each)
            runs[each].append(seconds)
            diffs[each] = max(diffs[each], (image - whole).abs().max().item())
    return [_line(name, size, each, runs[each], median(plain), diffs[each], held[each]) for each in GRANULARITIES]


def _line(
    name: str, size: int, granularity: str, runs: list[list[float]], plain_s: float, diff: float, held: int
) -> Line:
    total = median(sum(run) for run in runs)
    largest = max(median(chunk) for chunk in zip(*runs, strict=True))
    return Line(
        vae=name,
        size=f"{size}x{size}",
        granularity=granularity,
        chunks=len(runs[0]),
        largest_share=largest / total,
        decode_cpu_s=total,
        extra_cpu=total / plain_s - 1,
        max_abs_diff=diff,
        held_mib=held / 2**20,
    )


HEAD = """| VAE | image | granularity | chunks | largest | CPU s | extra CPU | max abs diff | held MiB |
|---|---|---|---|---|---|---|---|---|"""


def row(line: Line) -> str:
    """One line of the table."""
    return (
        f"| {line.vae} | {line.size} | {line.granularity} | {line.chunks} | {line.largest_share:.1%} "
        f"| {line.decode_cpu_s:.2f} | {line.extra_cpu:+.1%} | {line.max_abs_diff:.1e} | {line.held_mib:.1f} |"
    )


def main() -> None:
    """Measure and print: the table grows as VAEs are done (a 512x512 decode takes about 20 to 80 s of CPU)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sdxl-size", type=int, default=1024, help="side of the SDXL-shaped decode, in pixels")
    parser.add_argument("--only", choices=NAMES, action="append", help="measure these VAEs (default: all)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[Line] = []
    if not options.json:
        print(HEAD)
    for name in options.only or NAMES:
        vae, size = subject(name, options.sdxl_size)
        lines += measure(name, vae, size, options.rounds)
        if not options.json:
            print("\n".join(row(line) for line in lines if line.vae == name), flush=True)
    if options.json:
        machine = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__, "threads": 1}
        print(json.dumps(machine | {"lines": [asdict(line) for line in lines]}))


if __name__ == "__main__":
    main()
