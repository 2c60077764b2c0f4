"""The jobs, the workers and the pool that the measurements are made with."""

from __future__ import annotations

from synerdiff import policy
from synerdiff.ledger import WorkerReport
from synerdiff.policy.shipped import shipped_profile
from synerdiff.protocol import Job

POOL = "scale"
_PROFILE = shipped_profile("h100-sdxl-1024")
PROFILE = _PROFILE.profile_id
CAPACITY = 16
SLOT_S = _PROFILE.unet_s[_PROFILE.rows.index(CAPACITY * _PROFILE.rows_per_sample)]  # a step of a full batch
STEPS = 25
LEASE_S = 8.0
PROMPT = "a watercolour of a lighthouse at dusk, soft light, detailed, on textured paper"
SLOT = {"predicted_s": 0.1, "measured_s": 0.1, "rows": 32, "chunks": 0, "active": 16, "waiting": 0, "unet_s": 0.1}


def jobs(first: int, count: int) -> list[Job]:
    """Jobs of eight tenants with a prompt of usual length; ids begin at ``first``."""
    return [
        Job(
            id=f"job-{number:08d}-0123456789",
            model=POOL,
            prompt=PROMPT,
            width=1024,
            height=1024,
            steps=STEPS,
            tenant=f"tenant-{number % 8}",
        )
        for number in range(first, first + count)
    ]


def report(name: str) -> WorkerReport:
    """What a busy worker says of itself."""
    return WorkerReport(
        name=name,
        pool=POOL,
        host="node-17",
        pid=4711,
        capacity=CAPACITY,
        running=CAPACITY,
        profile_id=PROFILE,
        plan_version=1,
        slot={**SLOT, "engine_restarts": 0},
    )


def profile_document() -> str:
    """The profile that the scheduler plans by: an H100's, from published figures."""
    return policy.profile_document(_PROFILE)
