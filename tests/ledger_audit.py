"""Counts a ledger's records one by one and compares every index and counter with them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import redis

FINAL = {"succeeded", "failed", "cancelled", "expired", "dead"}
PLACES = {"waiting", "released", "quarantine", "leased"}


def records(client: redis.Redis, pool: str) -> dict[str, dict[str, str]]:
    """Every record of a pool, by id."""
    keys = sorted(client.scan_iter("synerdiff:job:*", count=1000))
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.hgetall(key)
    found = dict(zip((key.removeprefix("synerdiff:job:") for key in keys), pipe.execute(), strict=True))
    return {job_id: record for job_id, record in found.items() if record["pool"] == pool}


def _members(client: redis.Redis, pattern: str) -> set[str]:
    found: set[str] = set()
    for key in client.scan_iter(f"synerdiff:{pattern}", count=1000):
        members: Any = client.smembers(key) if client.type(key) == "set" else client.zrange(key, 0, -1)
        found |= set(members)
    return found


def audit(client: redis.Redis, pool: str) -> dict[str, dict[str, str]]:
    """Assert that indexes and counters tell the truth about the records; returns the records."""
    jobs = records(client, pool)
    at = {place: {job_id for job_id, record in jobs.items() if record["place"] == place} for place in PLACES}
    open_jobs = {job_id: record for job_id, record in jobs.items() if record["state"] not in FINAL}
    assert set().union(*at.values()) == set(open_jobs), "an open job is nowhere"
    for job_id, record in open_jobs.items():
        assert (record["state"] == "running") == (job_id in at["leased"]), f"{job_id}: {record}"
    indexes = {
        "jobs:open": set(open_jobs),
        "queue": at["waiting"],
        "released": at["released"],
        "quarantine": at["quarantine"],
        "leases": at["leased"],
    }
    for name, expected in indexes.items():
        pattern = f"{name}:{pool}:*" if name in ("queue", "released") else f"{name}:{pool}"
        assert _members(client, pattern) == expected, name
    assert _members(client, "inflight:*") == at["leased"]
    for job_id in at["leased"]:
        assert client.sismember(f"synerdiff:inflight:{jobs[job_id]['worker']}", job_id)
    _audit_counters(client, pool, at, open_jobs)
    _audit_alone(client, pool, {job_id: jobs[job_id] for job_id in at["leased"]})
    return jobs


def _audit_counters(
    client: redis.Redis, pool: str, at: dict[str, set[str]], open_jobs: dict[str, dict[str, str]]
) -> None:
    counters: Any = client.hgetall(f"synerdiff:counters:{pool}")
    for place, ids in at.items():
        assert int(counters.get(place, 0)) == len(ids), place
    assert int(counters.get("cost", 0)) == sum(int(record["cost"]) for record in open_jobs.values())
    tenants: Any = client.hgetall(f"synerdiff:tenants:open:{pool}")
    assert {name: int(n) for name, n in tenants.items()} == Counter(record["tenant"] for record in open_jobs.values())
    with_deadline = {job_id for job_id, record in open_jobs.items() if record.get("deadline_at")}
    assert _members(client, f"deadlines:{pool}") == with_deadline
    capacities: Any = client.hgetall(f"synerdiff:capacities:{pool}")
    assert int(counters.get("capacity", 0)) == sum(map(int, capacities.values()))
    assert set(capacities) == _members(client, f"workers:{pool}")


def _audit_alone(client: redis.Redis, pool: str, leased: dict[str, dict[str, str]]) -> None:
    alone: Any = client.hgetall(f"synerdiff:alone:{pool}")
    for job_id, record in leased.items():
        if record.get("alone") == "1":
            assert client.smembers(f"synerdiff:inflight:{record['worker']}") == {job_id}, "a job alone has company"
            assert alone.get(record["worker"]) == job_id
    for worker, job_id in alone.items():
        assert not job_id or (job_id in leased and leased[job_id]["worker"] == worker), "set aside for nothing"
    if alone and "" in alone.values():
        assert client.exists(f"synerdiff:quarantine:{pool}"), "a worker makes room for nothing"
