"""Where a training run keeps its things: every path below the directory given with ``--out``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Workspace:
    """The files of one run."""

    root: Path

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, as transformers keeps one."""
        return self.root / "tokenizer"

    @property
    def vae(self) -> Path:
        """The trained VAE in diffusers' format; its encoder makes the latents."""
        return self.root / "vae"

    @property
    def refined_vae(self) -> Path:
        """The same encoder with a decoder trained further."""
        return self.root / "vae-refined"

    @property
    def final_vae(self) -> Path:
        """What an export takes."""
        return self.refined_vae if self.refined_vae.exists() else self.vae

    @property
    def pause(self) -> Path:
        """While this file exists, training rests."""
        return self.root / "PAUSE"

    @property
    def exports(self) -> Path:
        """Exports along the way, named by the samples seen."""
        return self.root / "exports"

    @property
    def model(self) -> Path:
        """The last export."""
        return self.root / "model"

    def checkpoint(self, phase: str) -> Path:
        """Where a training phase goes on from."""
        return self.root / f"{phase}.ckpt.pt"

    def latents(self, seed: int | str) -> Path:
        """Latents and scenes made from this seed; ``*`` for a pattern."""
        return self.root / "latents" / f"seed-{seed}.pt"

    def latent_files(self) -> list[Path]:
        """All of them, in the order of their names."""
        pattern = self.latents("*")
        return sorted(pattern.parent.glob(pattern.name))
