"""Where decodes go: the plan against plain rules, under other contention and with wrong beliefs."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.policy.rules import RULES, rule_plan
from benchmarks.policy.study import LOADS, Study, Table
from synerdiff.policy import Pairs, Profile
from synerdiff.policy.cost import CostModel
from synerdiff.policy.shipped import shipped_profile
from synerdiff.policy.simulator import Scenario


def rules_table(study: Study, name: str) -> Table:
    """Mean E2E of each rule relative to decoding alone and at once."""
    profile = shipped_profile(name)
    ratings = study.planner.ratings(profile)
    alone = Scenario(profile, plan=rule_plan("alone", ratings, study.planner))
    reference = [study.mean("synerdiff-exact", profile, load, alone) for load in LOADS]
    rows = [["rule", *(f"load {load}" for load in LOADS), "capacity"]]
    for rule in ("priced table", *RULES):
        plan = None if rule == "priced table" else rule_plan(rule, ratings, study.planner)
        scenario = Scenario(profile, plan=plan)
        means = [study.mean("synerdiff-exact", profile, load, scenario) for load in LOADS]
        shown = [f"{mean / base:.2f}" for mean, base in zip(means, reference, strict=True)]
        rows.append([rule, *shown, f"{study.capacity('synerdiff-exact', profile, scenario):.3f}"])
    return rows


def contention_table(study: Study, name: str) -> Table:
    """How the gain over decoding alone moves with the assumed contention."""
    assumed = shipped_profile(name)
    rows = [["contention x", "capacity gain", *(f"mean at {load}" for load in LOADS)]]
    for factor in (0.0, 0.5, 1.0, 1.5, None):
        profile = replace(assumed, pairs=None) if factor is None else with_contention(assumed, factor)
        ratings = study.planner.ratings(profile)
        alone = Scenario(profile, plan=rule_plan("alone", ratings, study.planner))
        gain = study.capacity("synerdiff-exact", profile, Scenario(profile)) / study.capacity(
            "synerdiff-exact", profile, alone
        )
        means = [
            study.mean("synerdiff-exact", profile, load, Scenario(profile))
            / study.mean("synerdiff-exact", profile, load, alone)
            for load in LOADS
        ]
        label = "takes turns" if factor is None else f"{factor:g}"
        rows.append([label, f"{gain:.3f}", *(f"{mean:.2f}" for mean in means)])
    return rows


def with_contention(profile: Profile, factor: float) -> Profile:
    """The profile with every assumed delay times ``factor``."""
    cost, pairs = CostModel(profile), profile.pairs
    assert pairs is not None
    chunks = [share * profile.finest.decode_s for share in pairs.decodes]
    alone = [float(cost.unet(rows)) - profile.slot_s for rows in pairs.rows]
    unet = tuple(
        tuple(base + factor * (each - base) for each in line) for base, line in zip(alone, pairs.unet_s, strict=True)
    )
    vae = tuple(
        tuple(base + factor * (each - base) for base, each in zip(chunks, line, strict=True)) for line in pairs.vae_s
    )
    return replace(profile, pairs=Pairs(pairs.rows, pairs.decodes, unet, vae))


def wrong_profile_table(study: Study, name: str) -> Table:
    """What believing a wrong contention costs: mean E2E relative to a right profile."""
    profile = shipped_profile(name)
    rows = [["belief", *(f"mean at {load}" for load in LOADS), "capacity"]]
    right = [study.mean("synerdiff-exact", profile, load, Scenario(profile)) for load in LOADS]
    beliefs = {"overlap is useless": replace(profile, pairs=None), "overlap is free": with_contention(profile, 0.0)}
    for label, believed in beliefs.items():
        scenario = Scenario(profile, believed=believed)
        means = [study.mean("synerdiff-exact", profile, load, scenario) for load in LOADS]
        shown = [f"{mean / base:.2f}" for mean, base in zip(means, right, strict=True)]
        rows.append([label, *shown, f"{study.capacity('synerdiff-exact', profile, scenario):.3f}"])
    return rows
