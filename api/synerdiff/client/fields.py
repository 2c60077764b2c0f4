"""The fields of a job as a producer gives them, for type checkers and editors."""

from __future__ import annotations

from typing import TypedDict

from synerdiff.protocol.job import ImageFormat, Quality, Sampler


class JobOptions(TypedDict, total=False):
    """Every field but the prompt; each may be left out (or None). docs/client.md lists meanings and defaults."""

    id: str | None
    model: str | None
    negative_prompt: str | None
    width: int | None
    height: int | None
    steps: int | None
    guidance_scale: float | None
    sampler: Sampler | None
    seed: int | None
    n: int | None
    quality: Quality | None
    priority: int | None
    deadline_s: float | None
    format: ImageFormat | None
    webhook: str | None
    tenant: str | None
    metadata: dict[str, str] | None


class JobFields(JobOptions):
    """A whole job."""

    prompt: str
