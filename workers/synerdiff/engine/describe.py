"""What a checkpoint is and what applies to it, in words, from its configs and headers alone: no weight is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from synerdiff.engine.calibration import Calibration, load_calibration
from synerdiff.engine.checkpoint import Checkpoint

FAMILIES = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "Stable Diffusion XL",
    "lcm": "latent consistency model (guidance distilled into the UNet)",
}
MAPS_OF_A_DECODE = 3  # its input, the normalised copy and its output, at the widest full-size layer


@dataclass(frozen=True, slots=True)
class Feature:
    """Whether something applies to a checkpoint, and a sentence that says why or how."""

    applies: bool
    note: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a checkpoint needs. Weights are counted; ``decode`` of one image at native size is an estimate."""

    cpu_weights: int
    cpu_decode: int
    gpu_weights: int
    gpu_decode: int


def describe(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    """Family, sizes, memory, samplers and features as one document. Reads every weight file once, for the hash."""
    model_hash = checkpoint.hash()
    calibration = load_calibration(checkpoint.path, model_hash)
    entry = checkpoint.entry(name, model_hash)
    return {
        "model_path": str(checkpoint.path.resolve()),
        **entry.model_dump(mode="json"),
        "family_name": FAMILIES[checkpoint.family],
        "prediction": checkpoint.configs["scheduler"].get("prediction_type", "epsilon"),
        "weight_bytes": checkpoint.weight_bytes,
        "parameters": checkpoint.parameters,
        "memory_bytes": asdict(memory(checkpoint)),
        "features": {key: asdict(feature) for key, feature in features(checkpoint, calibration).items()},
    }


def memory(checkpoint: Checkpoint) -> Memory:
    """Float32 on the CPU; half precision on a GPU, where a VAE that asks for it stays in float32."""
    entry = checkpoint.entry("model", "")
    channels = checkpoint.configs["vae"].get("block_out_channels") or [64]
    widest = channels[min(1, len(channels) - 1)]
    numbers = MAPS_OF_A_DECODE * widest * entry.default_width * entry.default_height
    total, vae = sum(checkpoint.parameters.values()), checkpoint.parameters["vae"]
    vae_item = 4 if _upcast(checkpoint) else 2
    return Memory(
        cpu_weights=4 * total,
        cpu_decode=4 * numbers,
        gpu_weights=2 * (total - vae) + vae_item * vae,
        gpu_decode=vae_item * numbers,
    )


def features(checkpoint: Checkpoint, calibration: Calibration) -> dict[str, Feature]:
    """What applies to this checkpoint and what does not."""
    return {
        "continuous_batching": Feature(True, "jobs of any steps, sampler, guidance and prompt share its UNet calls"),
        "guidance": _guidance(checkpoint),
        "skip_guidance": _skipping(checkpoint, calibration),
        "vae_chunking": _chunking(checkpoint),
        "few_steps": _few_steps(checkpoint),
    }


def _upcast(checkpoint: Checkpoint) -> bool:
    return bool(checkpoint.configs["vae"].get("force_upcast"))


def _guidance(checkpoint: Checkpoint) -> Feature:
    if checkpoint.family == "lcm":
        return Feature(
            False,
            "its guidance is distilled: the scale goes into the UNet, a step is one row, negative prompts do nothing",
        )
    rows = "a step with guidance_scale above 1 is two rows; at 1 or below it is one"
    return Feature(True, f"it was made for none: ask for guidance_scale 0; {rows}" if _turbo(checkpoint) else rows)


def _skipping(checkpoint: Checkpoint, calibration: Calibration) -> Feature:
    if checkpoint.family == "lcm":
        return Feature(False, "there is no unconditional pass to skip")
    if _turbo(checkpoint):
        return Feature(False, "at guidance_scale 0, which it was made for, there is no unconditional pass to skip")
    never = ", ".join(sampler for sampler, share in calibration.samplers.items() if share == 0.0)
    without = f"; never with {never}" if never else ""
    if calibration.model_hash:
        return Feature(True, f"calibrated for these weights{without}")
    return Feature(
        True,
        "not calibrated: careful defaults, every other step at most and only in jobs of 12 steps or more"
        f"{without}; `synerdiff fidelity --calibrate` finds this checkpoint's own limits",
    )


def _chunking(checkpoint: Checkpoint) -> Feature:
    exact = "decodes are cut into chunks and give the same pixels"
    return Feature(True, f"{exact}; in float32, as its VAE asks for (force_upcast)" if _upcast(checkpoint) else exact)


def _few_steps(checkpoint: Checkpoint) -> Feature:
    if checkpoint.family == "lcm":
        return Feature(True, "made for 2 to 8 steps with the lcm sampler")
    if _turbo(checkpoint):
        return Feature(True, "its scheduler is that of Turbo checkpoints: 1 to 4 steps with guidance_scale 0 suit them")
    return Feature(False, "made for about 20 steps or more")


def _turbo(checkpoint: Checkpoint) -> bool:
    """Whether its scheduler is that of SD-Turbo or SDXL-Turbo; nothing else in a checkpoint tells them apart."""
    scheduler = checkpoint.configs["scheduler"]
    euler = str(scheduler.get("_class_name", "")).startswith("Euler")
    return euler and scheduler.get("timestep_spacing") == "trailing"
