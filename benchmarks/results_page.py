"""docs/results.md and its plots, from the JSON files that ``benchmarks.results`` measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.simulated import FITTED_ON, compare, fits
from synerdiff.bench import report
from synerdiff.bench.variants import ABLATION

Document = dict[str, Any]

TITLES = {
    "mixed": "Mixed jobs at saturation",
    "uniform": "Uniform jobs at saturation",
    "open-0.9": "Arrivals at 0.9 of static's capacity",
    "open-0.5": "Arrivals at 0.5 of static's capacity",
    "open-0.7": "Arrivals at 0.7 of static's capacity",
    "open-1.1": "Arrivals at 1.1 of static's capacity",
    "bursts": "Bursts: the middle third of the jobs arrives four times faster",
    "few": "Few steps: 4 steps without guidance, at saturation",
    "bfloat16": "Mixed jobs at saturation, everything in bfloat16",
    "ablation": "Ablation at saturation",
    "ablation-open": "Ablation, arrivals at 0.9 of static's capacity",
}
KINDS = {
    "mixed": "4 to 50 steps, guidance 3 to 7.5, three samplers",
    "uniform": "25 DDIM steps, guidance 5",
    "few": "4 Euler steps, guidance off",
}
SAID = {
    "bfloat16": "UNet and text encoders of all policies, the plain pipeline among them, run in bfloat16 "
    "(`SYNERDIFF_DTYPE=bfloat16`), by a profile measured in it; SSIM is against this run's own `diffusers` images in "
    "bfloat16, where neighbours in a batch change an image by more, so the floor of `static` and `continuous` is mean "
    "0.996, worst 0.985.",
}
RATIOS = (
    ("mixed", "synerdiff", "diffusers", 2.1),
    ("mixed", "synerdiff", "static", 1.8),
    ("mixed", "synerdiff", "continuous", 1.3),
    ("mixed", "synerdiff-fast", "diffusers", 2.4),
    ("mixed", "synerdiff-fast", "static", 2.1),
    ("mixed", "synerdiff-fast", "continuous", 1.45),
    ("mixed", "synerdiff-exact", "continuous", 1.0),
    ("mixed", "synerdiff-exact", "diffusers", 1.45),
    ("uniform", "synerdiff", "static", 1.35),
)
CUTS = (("static", 0.65), ("continuous", 0.30))
CEILING = 0.97


def write_page(out: Path, page: Path, names: Sequence[str], note: str) -> None:
    """Write the page and its plots from whatever sections ``out`` holds."""
    found = {
        name: json.loads(path.read_text(encoding="utf-8")) for name in names if (path := out / f"{name}.json").exists()
    }
    if not found:
        raise SystemExit(f"{out} holds no figures yet")
    images = page.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    parts = [_head(found, note), _targets(found)]
    for name, document in found.items():
        parts.append(_section(name, document))
        if not name.startswith("ablation"):
            report.plot(document, images / f"results-{name}.png")
            parts.append(f"![Throughput and latency by policy](images/results-{name}.png)")
    parts += [_growth(found), _simulated(out, found)]
    page.write_text("\n\n".join(part.strip() for part in parts if part) + "\n", encoding="utf-8")


def _head(found: Mapping[str, Document], note: str) -> str:
    first = next(iter(found.values()))
    machine = first["machine"]
    loads = ", ".join(f"{document['machine']['load_before']:.1f}" for document in found.values())
    return f"""# Results
{note and f"{chr(10)}{note}{chr(10)}"}
What `synerdiff bench` measured on one machine, written by `python -m benchmarks.results` from the bench's own output;
nothing on this page was typed in. Wall times, all policies of a table in one interleaved run with the same threads,
model and memory format; an `images/s` is the median of the rounds, latencies are over all rounds.

| | |
|---|---|
| machine | {machine["cpu"]}, {machine["cores"]} cores, no GPU |
| software | Python {machine["python"]}, torch {machine["torch"]}, {machine["system"]} |
| threads | {first["threads"]} |
| load average before each table | {loads} |
| model | {first["model"]}, weights {first["model_hash"][:12]} |
| engine | at most {first["capacity"]} images held, batch cap {first["batch_cap"]} (planned from the profile) |

SSIM is against the `diffusers` images of the same run; a policy below its class's floor (`synerdiff`: mean 0.98,
worst 0.93; `synerdiff-fast`: 0.95, 0.85; the others 0.999) is marked, whatever its speed. *Of ceiling* is the time of
the same UNet calls and decodes back to back, with no queue or bookkeeping, over the run's: it says something only at
saturation. `static` waits and batches as tuned for the trace; jobs that differ in steps, sampler or guidance
can't share its calls."""


def _policies(document: Document) -> dict[str, Document]:
    return {item["policy"]: item for item in document["policies"]}


def _targets(found: Mapping[str, Document]) -> str:
    lines = [
        "## Aims and what was reached",
        "",
        "Judged by wall time alone. A shared machine is not always as fast: a fixed piece of work is timed before and",
        "after each run, and in brackets is what a ratio would be had the machine been equally fast for both.",
        "",
        "| aim | wanted | measured | |",
        "|---|---|---|---|",
    ]
    for section, policy, base, wanted in RATIOS:
        items = _policies(found.get(section, {"policies": []}))
        if policy in items and base in items:
            ratio = items[policy]["images_per_s"] / items[base]["images_per_s"]
            even = ratio * items[policy]["pace_s"] / items[base]["pace_s"]
            measured = f"{ratio:.3f}x ({even:.3f}x)"
            met = round(ratio, 3) >= wanted
            lines.append(_line(f"{section}: {policy} over {base}", f"{wanted:.2f}x", measured, met))
    lines += _latency_lines(found)
    for section in ("mixed", "uniform"):
        for name, item in _policies(found.get(section, {"policies": []})).items():
            if name.startswith("synerdiff"):
                share = item["ceiling_share"]
                lines.append(
                    _line(f"{section}: {name}, of its ceiling", f"{CEILING:.0%}", f"{share:.1%}", share >= CEILING)
                )
    return "\n".join(lines)


def _latency_lines(found: Mapping[str, Document]) -> list[str]:
    items = _policies(found.get("open-0.9", {"policies": []}))
    lines = []
    for policy in ("synerdiff", "synerdiff-fast"):
        for base, wanted in CUTS:
            for figure in ("mean", "p99"):
                if policy in items and base in items:
                    cut = 1 - items[policy]["e2e_s"][figure] / items[base]["e2e_s"][figure]
                    what = f"0.9 of static's capacity: {policy}'s {figure} E2E below {base}'s"
                    lines.append(_line(what, f"{wanted:.0%}", f"{cut:.0%}", cut >= wanted))
    return lines


def _line(what: str, wanted: str, measured: str, met: bool) -> str:
    return f"| {what} | {wanted} | {measured} | {'reached' if met else 'not reached'} |"


def _section(name: str, document: Document) -> str:
    rate = "all there at the start" if document["rate"] is None else f"Poisson arrivals, {document['rate']:.2f} jobs/s"
    static = document["static"]
    window = f"static: batches of up to {static['cap']}, window {static['window_s']:g} s; " if static["times"] else ""
    lead = (
        f"{document['jobs']} jobs ({KINDS[document['kind']]}), {rate}; {_rounds(document)}; {window}"
        f"load average {document['machine']['load_before']:.1f} before, {document['load_after']:.1f} after."
    )
    table = _ablation(document) if name.startswith("ablation") else report.markdown(document)
    said = f"{SAID[name]}\n\n" if name in SAID else ""
    return f"## {TITLES[name]}\n\n{said}{lead}\n\n{table}"


def _rounds(document: Document) -> str:
    """How many rounds, and which policies ran in the first alone."""
    rounds = document["rounds"]
    once = [item["policy"] for item in document["policies"] if item["rounds"] < rounds]
    said = f"{rounds} round{'s' if rounds > 1 else ''}"
    return f"{said} ({', '.join(once)}: 1)" if once else said


def _ablation(document: Document) -> str:
    items = _policies(document)
    whole = items["synerdiff"]["images_per_s"]
    lines = [
        "| without | what runs | images/s | of everything | E2E mean / p99 (s) | rows run | SSIM mean / worst |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, item in items.items():
        if name not in ABLATION:
            continue
        e2e, ssim = item["e2e_s"], item["ssim"]
        lines.append(
            f"| {'-' if name == 'synerdiff' else name} | {ABLATION[name].what} | {item['images_per_s']:.2f} |"
            f" {item['images_per_s'] / whole:.2f} | {e2e['mean']:.2f} / {e2e['p99']:.2f} | {item['rows_run']} |"
            f" {ssim['mean']:.4f} / {ssim['worst']:.4f} |"
        )
    return "\n".join(lines)


def _growth(found: Mapping[str, Document]) -> str:
    document = found.get("open-0.9") or found.get("mixed")
    if document is None:
        return ""
    lines = [
        "## Cost over a run",
        "",
        "CPU milliseconds a UNet row, all that happened between the calls included, in the first and the second half",
        f"of the calls of *{TITLES[document['section']]}*; a call of few rows costs more a row.",
        "",
    ]
    lines += ["| policy | first half | second half | rows/call, first half | second half |", "|---|---|---|---|---|"]
    for name, item in _policies(document).items():
        first, second = item["by_half"]
        costs = f"{1e3 * first['cpu_s_per_row']:.1f} | {1e3 * second['cpu_s_per_row']:.1f}"
        lines.append(f"| {name} | {costs} | {first['rows_per_call']:.1f} | {second['rows_per_call']:.1f} |")
    return "\n".join(lines)


def _paces(found: Mapping[str, Document]) -> list[float]:
    """Of all runs, in units of the fitted table's median."""
    unit = median(item["pace_s"] for item in found[FITTED_ON]["policies"])
    alike = [document for document in found.values() if fits(document, found[FITTED_ON])]
    return [item["pace_s"] / unit for document in alike for item in document["policies"]]


def _simulated(out: Path, found: Mapping[str, Document]) -> str:
    rows = compare(out, found)
    if not rows:
        return ""
    paces = _paces(found)
    lines = [
        "## The simulator beside the bench",
        "",
        "This machine's profile and the tuner's times of the plain pipeline, fitted on *mixed at saturation* alone",
        "(one factor on each side, and the steps between refreshes; the tuner's times of a trace itself only where its",
        "images have another number of rows), then run on the traces of the",
        "other tables. A shared machine is not always as fast: a fixed piece of work is timed before and after each",
        f"run, and the simulator is told that pace. Over the runs it was from {min(paces):.2f} to {max(paces):.2f} of",
        "the fitted table's median.",
        "",
        "| table | policy | mean E2E (s) | simulated | off | P99 E2E (s) | simulated | off |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        mean, p99, name = row["mean"], row["p99"], row["section"] + (" (fitted)" if row["fitted"] else "")
        lines.append(
            f"| {name} | {row['policy']} | {mean[0]:.2f} | {mean[1]:.2f} |"
            f" {mean[1] / mean[0] - 1:+.0%} | {p99[0]:.2f} | {p99[1]:.2f} | {p99[1] / p99[0] - 1:+.0%} |"
        )
    judged = [abs(row[which][1] / row[which][0] - 1) for row in rows if not row["fitted"] for which in ("mean", "p99")]
    if judged:
        within = sum(off <= 0.15 for off in judged)
        lines += [
            "",
            f"{within} of {len(judged)} figures that nothing was fitted to are within 15%;"
            f" the worst is off by {max(judged):.0%}.",
        ]
    return "\n".join(lines)
