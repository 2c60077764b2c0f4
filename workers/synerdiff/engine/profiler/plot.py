"""A profile's curves as a picture (needs the ``bench`` extra: matplotlib)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synerdiff.policy.profile import Profile


def plot_profile(profile: Profile, path: Path) -> None:
    """Draw UNet rates by rows, chunk times by granularity and, where measured, the contention.

    Raises ``ModuleNotFoundError`` without matplotlib.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.2), layout="constrained")
    unet, vae, both = figure.subplots(1, 3)
    _draw_unet(unet, profile)
    _draw_chunks(vae, profile)
    _draw_pairs(both, profile)
    figure.suptitle(f"{profile.model} {profile.width}x{profile.height} {profile.dtype}, {profile.device}")
    figure.savefig(path, dpi=120)


def _draw_unet(axes: Any, profile: Profile) -> None:
    rates = [rows / seconds for rows, seconds in zip(profile.rows, profile.unet_s, strict=True)]
    axes.plot(profile.rows, rates, marker="o")
    axes.set(title="UNet call alone", xlabel="rows", ylabel="rows per second", ylim=(0, None))


def _draw_chunks(axes: Any, profile: Profile) -> None:
    for cut in profile.granularities:
        done, edges = 0.0, [0.0]
        for seconds in cut.chunk_s:
            done += seconds
            edges.append(done)
        label = f"{cut.name} ({len(cut.chunk_s)}), {cut.decode_s * 1000:.1f} ms"
        axes.stairs([seconds * 1000 for seconds in cut.chunk_s], edges, label=label)
    axes.set(title="VAE chunks alone", xlabel="seconds into the decode", ylabel="chunk, ms", yscale="log")
    axes.set_ylim(top=3000 * max(max(cut.chunk_s) for cut in profile.granularities))  # room for the legend
    axes.legend(fontsize="small")


def _draw_pairs(axes: Any, profile: Profile) -> None:
    axes.set(title="Both at once", xlabel="decodes beside the UNet call", ylabel="slot / taking turns")
    if profile.pairs is None:
        axes.text(0.5, 0.5, "the sides take turns", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    pairs, unet = profile.pairs, dict(zip(profile.rows, profile.unet_s, strict=True))
    for i, rows in enumerate(pairs.rows):
        turns = [unet[rows] + share * profile.finest.decode_s for share in pairs.decodes]
        slots = [max(u, v) for u, v in zip(pairs.unet_s[i], pairs.vae_s[i], strict=True)]
        axes.plot(pairs.decodes, [s / t for s, t in zip(slots, turns, strict=True)], marker="o", label=f"{rows} rows")
    axes.axhline(1.0, linestyle=":", color="grey")
    axes.legend(fontsize="small")
