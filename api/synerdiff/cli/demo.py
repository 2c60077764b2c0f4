"""The demo's work: send a workload through a running stack and bring the images home."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synerdiff.cli.contact_sheet import contact_sheet
from synerdiff.cli.demo_workload import jobs
from synerdiff.cli.figures import Rows, latencies, rows
from synerdiff.cli.follow import follow, step_bars
from synerdiff.client import Client, JobView
from synerdiff.settings import Settings

SHEET = "contact-sheet.png"
PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Made:
    """What the demo came to: the jobs' final views, their image files, and how long the jobs took."""

    views: list[JobView]
    files: list[Path]
    sheet: Path
    seconds: float

    def figures(self) -> dict[str, Any]:
        """The demo's figures as one document; times in seconds."""
        counted = rows(self.views)
        return {
            "jobs": len(self.views),
            "images": len(self.files),
            "seconds": round(self.seconds, 3),
            "latency_s": latencies([view.timings for view in self.views if view.timings is not None]),
            "rows_run": counted.run,
            "rows_skipped": counted.skipped,
            "rows_skipped_share": round(counted.saved, 4),
            "rows_per_call": round(counted.per_call, 2),
            "contact_sheet": str(self.sheet.resolve()),
            "files": [str(file.resolve()) for file in self.files],
        }

    def rows_by_quality(self) -> dict[str, Rows]:
        """The UNet rows of each class of quality that the workload had."""
        classes = sorted({view.job.quality for view in self.views})
        return {quality: rows([view for view in self.views if view.job.quality == quality]) for quality in classes}


def make_images(settings: Settings, out_dir: Path) -> Made:
    """Run the workload and save its images and their contact sheet in ``out_dir``.

    Every image comes back from S3 and is checked against its record's sha256 (:class:`CorruptObject`); a job
    without images raises its :class:`JobEnded`.
    """
    with Client(settings) as client:
        started = time.monotonic()
        ids = client.submit_many(jobs())
        with step_bars({job["id"] or "": job["prompt"] for job in jobs()}) as seen:
            views = list(follow(client, ids, seen=seen, timeout_s=PATIENCE_S))
        seconds = time.monotonic() - started
        saved = {view.id: client.download(view.id, out_dir) for view in views}
    captioned = [(path, caption(view, index)) for view in views for index, path in enumerate(saved[view.id])]
    sheet = out_dir / SHEET
    contact_sheet(captioned, sheet)
    return Made(views, [path for path, _ in captioned], sheet, seconds)


def caption(view: JobView, index: int) -> str:
    """What a reader needs to know of an image: the prompt, and how it was made."""
    job, receipt = view.job, view.receipt
    skipped = len(receipt.skipped_steps[index]) if receipt and index < len(receipt.skipped_steps) else 0
    saved = f", skip-CFG at {skipped} steps" if skipped else ""
    return f"{job.prompt}\n{job.sampler}, {job.steps} steps, guidance {job.guidance_scale:g}, {job.quality}{saved}"
