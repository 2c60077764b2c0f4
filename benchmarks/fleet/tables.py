"""Rounds to figures, and figures to tables for a person."""

from __future__ import annotations

import statistics
from typing import Any

from rich.table import Table

from benchmarks.fleet.rounds import EngineRound, FleetRound


def figures(alone: list[EngineRound], whole: list[FleetRound]) -> dict[str, Any]:
    """The rounds, the overheads as medians over them, and the last round's account for each job."""
    rounds = [
        {
            "engine_images_per_s": engine.saturated,
            "fleet_images_per_s": fleet.saturated,
            "lost": 1.0 - fleet.saturated / engine.saturated,
            "engine_whole_run_images_per_s": engine.whole,
            "fleet_whole_run_images_per_s": fleet.whole,
            "whole_run_lost": 1.0 - fleet.whole / engine.whole,
            "engine_rows_per_call": engine.rows_per_call,
            "fleet_rows_per_call": fleet.rows_per_call,
            "engine_cpu_s_per_image": engine.engine_cpu_s / len(engine.done_s),
            "fleet_engine_cpu_s_per_image": fleet.engine_cpu_s / len(fleet.done_s),
        }
        for engine, fleet in zip(alone, whole, strict=True)
    ]
    return {
        "rounds": rounds,
        "fleet_overhead": statistics.median(each["lost"] for each in rounds),
        "whole_run_overhead": statistics.median(each["whole_run_lost"] for each in rounds),
        "engine_overhead": statistics.median(engine.overhead for engine in alone),
        "account_per_job": whole[-1].account.over(len(whole[-1].done_s)),
    }


PAIRS = (
    ("images/s, saturated", "engine_images_per_s", "fleet_images_per_s", ".2f"),
    ("images/s, whole run", "engine_whole_run_images_per_s", "fleet_whole_run_images_per_s", ".2f"),
    ("rows in a UNet call", "engine_rows_per_call", "fleet_rows_per_call", ".1f"),
    ("engine's CPU s an image", "engine_cpu_s_per_image", "fleet_engine_cpu_s_per_image", ".3f"),
)


def report(document: dict[str, Any]) -> Table:
    """The figures for a person."""
    table = Table("figure", "engine alone", "fleet", "lost", "aim", title="What the fleet costs")
    lost = {"images/s, saturated": "fleet_overhead", "images/s, whole run": "whole_run_overhead"}
    for title, alone, whole, form in PAIRS:
        both = (statistics.median(each[name] for each in document["rounds"]) for name in (alone, whole))
        share = f"{document[lost[title]]:.1%}" if title in lost else ""
        table.add_row(title, *(format(value, form) for value in both), share, "< 5%" if "saturated" in title else "")
    table.add_row("outside UNet and VAE calls", f"{document['engine_overhead']:.1%}", "", "", "< 3%")
    for kind, rate in document["submits_per_s"].items():
        table.add_row(f"submits/s, {kind.replace('_', ' ')}", "", f"{rate:.0f}", "", "")
    for share, value in document["submit_to_start_s"].items():
        table.add_row(f"submit to start, {share}", "", f"{value * 1000:.1f} ms", "", "")
    return table


def account_table(account: dict[str, Any]) -> Table:
    """Where the CPU seconds and the calls of one job went."""
    table = Table("for each job", "value", title="The fleet's account, last round")
    for part, seconds in account["cpu_s"].items():
        table.add_row(f"CPU of {part}", f"{seconds * 1000:.1f} ms")
    table.add_row("CPU beside the engine's process", f"{account['beside_engine_cpu_s'] * 1000:.1f} ms")
    table.add_row("script calls", f"{account['script_calls']:.1f}")
    table.add_row("Redis commands, in scripts too", f"{account['redis_commands']:.1f}")
    table.add_row("messages published (Celery's events)", f"{account['published']:.1f}")
    return table
