"""A job: what a producer asks for, validated once at the edge."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from ulid import ULID

from synerdiff.protocol.errors import FieldError, InvalidJob

Sampler = Literal["ddim", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "lcm"]
Quality = Literal["exact", "balanced", "fast"]
ImageFormat = Literal["png", "webp", "jpeg"]

SAMPLERS: tuple[str, ...] = get_args(Sampler)
QUALITIES: tuple[str, ...] = get_args(Quality)
FORMATS: tuple[str, ...] = get_args(ImageFormat)

MAX_SEED = 2**63 - 1


class Limits(BaseModel):
    """The caps on a job's fields; they come from settings.

    ``max_cost`` caps n x steps x width x height; the default admits four 1024x1024 images of 100 steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_prompt_chars: int = Field(default=2000, ge=1)
    max_steps: int = Field(default=150, ge=1)
    max_n: int = Field(default=16, ge=1)
    min_side: int = Field(default=64, ge=8)
    max_side: int = Field(default=2048, ge=8)
    max_guidance_scale: float = Field(default=50.0, ge=1.0)
    max_deadline_s: float = Field(default=86_400.0, gt=0)
    max_metadata_entries: int = Field(default=16, ge=0)
    max_metadata_chars: int = Field(default=256, ge=1)
    max_cost: int = Field(default=4 * 100 * 1024 * 1024, ge=1)


class Job(BaseModel):
    """One request for ``n`` images; field meanings and defaults are the public contract.

    ``model``, ``width`` and ``height`` may be empty in what a producer sends; :func:`parse_job` fills them
    from the catalogue, so a stored job always has them. Image ``i`` is made from seed ``seed + i``.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = Field(default_factory=lambda: str(ULID()))
    model: Annotated[str, StringConstraints(min_length=1, max_length=512)] = ""
    prompt: str
    negative_prompt: str = ""
    width: int = 0
    height: int = 0
    steps: int = Field(default=25, ge=1)
    guidance_scale: float = Field(default=5.0, ge=0.0, allow_inf_nan=False)
    sampler: Sampler = "dpmpp_2m"
    seed: int = Field(default_factory=lambda: secrets.randbelow(2**32), ge=0, le=MAX_SEED)
    n: int = Field(default=1, ge=1)
    quality: Quality = "balanced"
    priority: int = Field(default=5, ge=0, le=9)
    deadline_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    format: ImageFormat = "png"
    webhook: Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://\S+$")] | None = None
    tenant: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "default"
    metadata: dict[str, str] = Field(default_factory=dict)

    @property
    def cost(self) -> int:
        """n x steps x pixels: what ``max_cost`` caps and fair sharing counts."""
        return self.n * self.steps * self.width * self.height


class ModelEntry(BaseModel):
    """What the catalogue knows of a model; it outlives the workers that serve it.

    ``name`` is what jobs ask for, ``pool`` the workers that serve it, ``latent_multiple`` the number of
    pixels every side must be a multiple of.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    pool: str
    family: str = "sd1"
    default_width: int = 128
    default_height: int = 128
    latent_multiple: int = 8
    samplers: tuple[str, ...] = SAMPLERS
    guidance: bool = True
    model_hash: str = ""


def _show(value: Any) -> str:
    """A value as an error shows it: short, on one line, and never a whole prompt."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _sentence(field: str, kind: str, context: Mapping[str, Any], value: Any, plain: str) -> str:
    limit = next((context[key] for key in ("ge", "gt", "le", "lt", "expected", "pattern") if key in context), None)
    got = f"got {_show(value)}"
    return {
        "extra_forbidden": f"{field} is not a field of a job; the fields are {', '.join(Job.model_fields)}",
        "missing": f"{field} is required and was not given",
        "greater_than_equal": f"{field} must be at least {limit}; {got}",
        "greater_than": f"{field} must be greater than {limit}; {got}",
        "less_than_equal": f"{field} must be at most {limit}; {got}",
        "finite_number": f"{field} must be a finite number; {got}",
        "literal_error": f"{field} must be one of {limit}; {got}",
        "string_pattern_mismatch": f"{field} must match {limit}; {got}",
        "string_too_long": f"{field} must be at most {context.get('max_length')} characters long; {got}",
        "string_unicode": f"{field} must be Unicode text; {got}",
        "string_too_short": f"{field} must be at least {context.get('min_length')} characters long; {got}",
    }.get(kind, f"{field}: {plain[0].lower()}{plain[1:]}; {got}")


def _translate(error: ValidationError) -> list[FieldError]:
    found = []
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"]) or "job"
        sentence = _sentence(field, item["type"], item.get("ctx", {}), item.get("input"), item["msg"])
        found.append(FieldError(field=field, message=sentence))
    return found


def _cap_errors(job: Job, limits: Limits) -> list[FieldError]:
    """Every cap that the job breaks, one sentence each."""
    found: list[FieldError] = []

    def at_most(field: str, value: float, cap: float, unit: str = "") -> None:
        if value > cap:
            found.append(FieldError(field=field, message=f"{field} must be at most {cap}{unit}; got {value}"))

    at_most("prompt", len(job.prompt), limits.max_prompt_chars, " characters long")
    at_most("negative_prompt", len(job.negative_prompt), limits.max_prompt_chars, " characters long")
    at_most("steps", job.steps, limits.max_steps)
    at_most("n", job.n, limits.max_n)
    at_most("guidance_scale", job.guidance_scale, limits.max_guidance_scale)
    at_most("metadata", len(job.metadata), limits.max_metadata_entries, " entries")
    for key, text in job.metadata.items():
        at_most(
            f"metadata.{_writable(key[:40])}", max(len(key), len(text)), limits.max_metadata_chars, " characters long"
        )
    if job.deadline_s is not None:
        at_most("deadline_s", job.deadline_s, limits.max_deadline_s)
    if job.seed > MAX_SEED - job.n:
        found.append(
            FieldError(field="seed", message=f"seed must leave room for n images below {MAX_SEED}; got {job.seed}")
        )
    return found


def _text_errors(job: Job) -> list[FieldError]:
    """Half a surrogate pair passes as a JSON string, but is no text that could be stored."""
    texts = {"prompt": job.prompt, "negative_prompt": job.negative_prompt, "webhook": job.webhook or ""}
    texts |= {f"metadata.{_writable(key[:40])}": key + text for key, text in job.metadata.items()}
    return [
        FieldError(field=field, message=f"{field} must be Unicode text; got half a surrogate pair")
        for field, text in texts.items()
        if any("\ud800" <= char <= "\udfff" for char in text)
    ]


def _writable(text: str) -> str:
    """Text that can be stored and printed: half a surrogate pair becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _size_errors(job: Job, limits: Limits, entry: ModelEntry) -> list[FieldError]:
    found = []
    for field, side in (("width", job.width), ("height", job.height)):
        if side < limits.min_side:
            found.append(FieldError(field=field, message=f"{field} must be at least {limits.min_side}; got {side}"))
        elif side > limits.max_side:
            found.append(FieldError(field=field, message=f"{field} must be at most {limits.max_side}; got {side}"))
        elif side % entry.latent_multiple:
            message = f"{field} must be a multiple of {entry.latent_multiple}; got {side}"
            found.append(FieldError(field=field, message=message))
    if not found and job.cost > limits.max_cost:
        message = f"cost (n x steps x width x height) must be at most {limits.max_cost}; got {job.cost}"
        found.append(FieldError(field="cost", message=message))
    return found


def _model_errors(job: Job, entry: ModelEntry) -> list[FieldError]:
    if job.sampler in entry.samplers:
        return []
    allowed = ", ".join(entry.samplers)
    return [
        FieldError(field="sampler", message=f"sampler must be one of {allowed} for {entry.name}; got {job.sampler!r}")
    ]


def parse_job(fields: Mapping[str, Any], *, limits: Limits, entry: ModelEntry) -> Job:
    """Validate a producer's fields and fill what they left out.

    ``entry`` is the catalogue's entry of the asked model. Raises :class:`InvalidJob`, whose ``errors`` name
    every wrong field with its limit and value; nothing is stored then.
    """
    given = {"model": entry.name, **{key: value for key, value in fields.items() if value is not None}}
    for field, default in (("width", entry.default_width), ("height", entry.default_height)):
        given.setdefault(field, default)
    try:
        job = Job.model_validate(given)
    except ValidationError as error:
        raise InvalidJob(_translate(error)) from None
    errors = _text_errors(job) + _cap_errors(job, limits) + _size_errors(job, limits, entry) + _model_errors(job, entry)
    if errors:
        raise InvalidJob(errors)
    return job


def pool_of(model: str) -> str:
    """The name of the pool that serves a model: safe in a Redis key and a queue name, one-to-one in practice."""
    safe = "".join(char if char.isalnum() or char in "_.-" else "-" for char in model)
    if safe == model and len(model) <= 80:
        return model
    import hashlib

    return f"{safe[:60]}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
