"""Every table, printed as soon as it is there."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import benchmarks.policy
from benchmarks.policy.bursts import bursts_table
from benchmarks.policy.oracle import oracle_table
from benchmarks.policy.placing import contention_table, rules_table, wrong_profile_table
from benchmarks.policy.serving import cap_table, planning_table, policies_table
from benchmarks.policy.study import PROFILES, Study, Table
from benchmarks.policy.theta import controller_table
from synerdiff.policy.shipped import shipped_profile


def markdown(rows: Table) -> str:
    """A table as Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main() -> None:
    """Make every table, print each as soon as it is there."""
    parser = argparse.ArgumentParser(description=benchmarks.policy.__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="jobs a point")
    # The controller's constants were chosen on seeds 1 and 2; report from others.
    parser.add_argument("--seed", type=int, default=11, help="seed of the arrivals")
    parser.add_argument("--json", type=Path, help="write the tables here")
    parser.add_argument("--profiles", default=",".join(PROFILES))
    parser.add_argument("--only", help="tables whose title begins so")
    options = parser.parse_args()
    study, names = Study(options.jobs, options.seed), options.profiles.split(",")
    parts: dict[str, Any] = {
        "Planning": planning_table,
        "Constrained choice against the oracle": lambda: oracle_table(100),
    }
    for name in names:
        parts[f"Policies, {name}"] = lambda name=name: policies_table(study, name)
        parts[f"Rules for decodes, mean E2E relative to 'alone', {name}"] = lambda name=name: rules_table(study, name)
        parts[f"Choosing theta, {name}"] = lambda name=name: controller_table(study, name)
    for name in [name for name in names if shipped_profile(name).pairs]:
        parts[f"Contention, relative to 'alone', {name}"] = lambda name=name: contention_table(study, name)
        parts[f"A wrong profile, relative to a right one, {name}"] = lambda name=name: wrong_profile_table(study, name)
    parts[f"Batch cap, {names[0]}"] = lambda: cap_table(study, names[0])
    parts["Bursts, draw by draw"] = lambda: bursts_table(study, names)
    found = {}
    for title, make in parts.items():
        if not title.startswith(options.only or ""):
            continue
        found[title] = make()
        print(f"\n### {title}\n\n{markdown(found[title])}", flush=True)
    if options.json:
        options.json.write_text(
            json.dumps({"jobs": options.jobs, "seed": options.seed, "tables": found}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
