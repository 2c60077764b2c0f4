"""Skip-CFG over numbers of steps, and a sheet to look at: what docs/algorithm.md shows beside the frontier.

    python -m benchmarks.frontier --steps 4,8,12,16,20,25,30,40,50 --json steps.json --sheet sheet.png

The frontier itself comes from `synerdiff fidelity --plot`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image

from synerdiff.engine.fidelity import Study, shipped_prompts
from synerdiff.engine.fidelity_criteria import adaptive
from synerdiff.engine.fidelity_run import Scenario, Studio
from synerdiff.engine.model import LoadedModel, load_model

SCALES = (3.0, 5.0, 7.5)


def by_steps(model: LoadedModel, prompts: list[str], sampler: str, steps: list[int]) -> list[dict[str, object]]:
    """Both skipping classes at each number of steps, and over all of them."""
    found: list[dict[str, object]] = []
    study = Study(Studio(model, prompts), [Scenario(sampler, count, SCALES, 1000) for count in steps], print)
    for quality in ("balanced", "fast"):
        criterion = adaptive(model.calibration, study.prediction, quality, "")
        for scenario in study.scenarios:
            figures = study.measure(criterion, [scenario])
            found.append({"quality": quality, "steps": scenario.steps, "rows": figures.rows, **figures.document()})
    return found


def sheet(model: LoadedModel, prompts: list[str], path: Path, sampler: str) -> None:
    """A row a prompt: full guidance, balanced, fast, and four times the difference of each from full guidance."""
    study = Study(Studio(model, prompts), [Scenario(sampler, 25, SCALES, 1000)])
    scenario, studio = study.scenarios[0], study.studio
    full = study.reference(scenario)
    skipped = [
        studio.make(scenario, adaptive(model.calibration, study.prediction, quality, "")).images
        for quality in ("balanced", "fast")
    ]
    columns = [full, *skipped, *((0.5 + 4 * (images - full)).clamp(0, 1) for images in skipped)]
    pixels = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)
    Image.fromarray((pixels.permute(1, 2, 0) * 255).round().byte().numpy()).save(path)


def main() -> None:
    """Read the options, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--sampler", default="dpmpp_2m")
    parser.add_argument("--steps", default="4,8,12,16,20,25,30,40,50")
    parser.add_argument("--prompts", type=int, default=12, help="how many of the held-out prompts")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    model = load_model(options.model, threads=1)
    prompts = shipped_prompts("held_out")[: options.prompts]
    if options.sheet:
        sheet(model, prompts[:9], options.sheet, options.sampler)
    if options.json:
        found = by_steps(model, prompts, options.sampler, [int(count) for count in options.steps.split(",")])
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
