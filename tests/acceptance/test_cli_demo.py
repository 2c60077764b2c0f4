"""`synerdiff demo` from the command line: images, figures, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from synerdiff.storage import read_receipt


def test_the_demo_makes_images_and_cleans_up(tmp_path: Path) -> None:
    out, scratch = tmp_path / "demo-out", tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "synerdiff.cli", "demo", "--out", str(out), "--json"]
    env = {**os.environ, "TMPDIR": str(scratch)}
    finished = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280)
    assert finished.returncode == 0, finished.stderr
    figures = json.loads(finished.stdout)

    images = sorted(set(out.glob("*.png")) - {out / "contact-sheet.png"})
    assert len(images) >= 8
    assert {str(image) for image in images} <= set(figures["files"])
    with Image.open(out / "contact-sheet.png") as sheet:
        assert sheet.width > 500
    receipts = [read_receipt(image) for image in images]
    assert all(receipt is not None and receipt.model == "tiny-emoji" for receipt in receipts)

    assert figures["rows_per_call"] > 2  # jobs shared UNet calls
    assert figures["rows_skipped"] > 0
    assert set(figures["latency_s"]["total"]) == {"p50", "p99"}
    for part in ("Flower", "gateway", "S3"):
        assert part in finished.stderr
    assert list(scratch.iterdir()) == []
