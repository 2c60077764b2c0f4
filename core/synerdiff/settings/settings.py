"""Every setting, its default and what it means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as NotParsed

from synerdiff.protocol import Limits
from synerdiff.protocol.errors import SettingsError

PREFIX = "SYNERDIFF_"
SHIPPED_MODEL = "tiny-emoji"


class Settings(BaseSettings):
    """The settings of every service; seconds and bytes throughout.

    Caps on a job's fields are set with two underscores: ``SYNERDIFF_LIMITS__MAX_STEPS=80``. A variable that is empty
    counts as not set.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=True, extra="ignore", frozen=True
    )

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="Redis that holds the ledger and Celery's queues; behind Sentinel: "
        "sentinel://user:password@host:26379,host:26379/0?master=NAME",
    )
    allow_unsafe_redis: bool = Field(default=False, description="accept a Redis whose maxmemory-policy may evict jobs")

    s3_endpoint: str | None = Field(default=None, description="S3-compatible endpoint; empty means AWS")
    s3_bucket: str = Field(default="synerdiff", description="bucket that images are stored in")
    s3_access_key: str | None = Field(default=None, description="empty: the default AWS credential chain")
    s3_secret_key: SecretStr | None = Field(default=None, description="the access key's secret")
    s3_region: str = Field(default="us-east-1", description="region that requests are signed for")
    s3_prefix: str = Field(default="images/", description="what every object key starts with")
    presign_expiry_s: float = Field(default=3600.0, gt=0, le=604_800, description="how long a presigned URL works")

    ca_file: str | None = Field(
        default=None,
        description="PEM file of the authorities that S3 and the hub are checked against; empty: the usual",
    )
    offline: bool = Field(default=False, description="ask no hub: weights are in a directory or in the hub's cache")

    model: str = Field(default=SHIPPED_MODEL, min_length=1, description="the model's name in the catalogue")
    model_path: str | None = Field(
        default=None, description="directory or hub id of its weights; empty: the shipped model"
    )
    model_revision: str | None = Field(default=None, description="full commit hash of a hub id")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto",
        description="precision of UNet and text encoders; auto: float32 on a CPU, float16 on a GPU. bfloat16 pays on "
        "CPUs with instructions for it (AMX, AVX512-BF16); images differ a little from float32's",
    )
    threads: int = Field(default=0, ge=0, description="torch threads of an engine; 0 chooses")
    executor: Literal["auto", "serial", "threads", "streams"] = Field(default="auto", description="how a slot runs")
    unet_rows: Literal["any", "padded", "compiled"] = Field(
        default="any",
        description="numbers of rows of UNet calls: any, padded to a few, or those compiled (CUDA graphs) for the "
        "model's own size, at the start, minutes each. Not for calls with an exact image, so a fast image then depends "
        "on its mates by rounding",
    )
    capacity: int = Field(default=16, ge=1, le=4096, description="jobs one worker holds at a time")
    max_rows: int = Field(default=0, ge=0, description="cap on UNet rows in a call; 0 chooses from the profile")
    preview_s: float = Field(
        default=1.0, ge=0, description="shortest time between previews of unfinished images; 0: none"
    )

    long_prompts: Literal["refuse", "chunk"] = Field(
        default="refuse", description="prompts over the text encoder's length: refused, or encoded in chunks of it"
    )
    prompt_weights: Literal["off", "compel"] = Field(
        default="off", description="syntax in which prompts may weigh their words; off: all of a prompt is text"
    )
    model_hash: str | None = Field(
        default=None, description="SHA-256 its weights must have (`synerdiff doctor --model` prints it); empty: any"
    )

    worker_name: str | None = Field(default=None, description="empty: host name and process id")
    lease_s: float = Field(default=8.0, ge=1.0, description="how long a claim holds without progress being reported")
    grace_s: float = Field(default=30.0, ge=0.0, description="how long a stopping worker may go on finishing jobs")
    worker_ttl_s: float = Field(default=8.0, ge=1.0, description="how long a silent worker counts as alive")
    hang_s: float = Field(
        default=30.0, gt=0, description="how long an engine with work at hand may be silent before it is restarted"
    )
    checkpoint_s: float = Field(
        default=2.0, ge=0, description="seconds of denoising that a crash may cost a job; 0 keeps no latents"
    )
    checkpoint_steps: int = Field(
        default=0, ge=0, description="keep a job's latents every so many steps; 0 chooses by the cost"
    )
    checkpoint_max_bytes: int = Field(
        default=4 * 2**20, ge=0, description="latents of one job that Redis may hold; larger jobs start over"
    )
    checkpoint_ttl_s: float = Field(default=3600.0, gt=0, description="how long the latents of a waiting job are kept")
    upload_threads: int = Field(default=4, ge=1)
    upload_queue_bytes: int = Field(
        default=256 * 2**20, ge=2**20, description="images waiting for S3 before admission stops"
    )

    progress_s: float = Field(
        default=0.5,
        ge=0,
        le=60,
        description="shortest time between reports of a job's steps, which a worker makes for all its jobs in one call "
        "to Redis; first and last steps are told at once",
    )
    tick_s: float = Field(default=1.0, gt=0, le=2, description="the scheduler's period")
    skip_from: Literal["start", "load"] = Field(
        default="start",
        description="when balanced images skip unconditional rows: from the first job on where that shortens a step, "
        "or once the load asks for it",
    )
    max_queue: int = Field(default=200_000, ge=1, description="open jobs in a pool past which submits are refused")
    max_queue_per_tenant: int = Field(
        default=0, ge=0, description="open jobs of one tenant in a pool past which its submits are refused; 0: no cap"
    )
    tenant_weights: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default_factory=dict,
        description='shares of a pool by tenant, 1 where not named, as JSON: {"gold": 3, "trial": 0.5}; '
        "set the same wherever jobs are submitted",
    )
    tenant_rate: float = Field(
        default=0.0, ge=0, description="submits a second that the gateway takes of one tenant; 0: no cap"
    )
    tenant_burst: int = Field(default=20, ge=1, description="submits that a tenant may make at once")
    tenant_streams: int = Field(
        default=500, ge=0, description="event streams that a tenant may have open on one gateway; 0: no cap"
    )
    max_attempts: int = Field(default=3, ge=1)
    result_ttl_s: float = Field(default=86_400.0, gt=0, description="how long finished records are kept")
    dead_ttl_s: float = Field(default=14 * 86_400.0, gt=0, description="how long dead records are kept")

    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=8000, ge=0, le=65_535)
    api_keys: SecretStr = Field(
        default=SecretStr(""), description="tenant:key pairs, comma-separated; empty: no keys needed, one tenant"
    )
    webhook_secrets: SecretStr = Field(
        default=SecretStr(""), description="tenant:whsec_SECRET pairs, comma-separated; * is every other tenant"
    )
    webhook_hosts: str = Field(
        default="", description="the only hosts that webhooks go to, comma-separated, *.name too; empty: any public one"
    )
    webhook_networks: str = Field(
        default="", description="networks that webhooks may go to though they are not public, such as 10.1.0.0/16"
    )
    webhook_timeout_s: float = Field(default=10.0, gt=0, le=60, description="longest time of one attempt")
    webhook_attempts: int = Field(default=8, ge=1, le=20, description="attempts to deliver a webhook")
    flower_host: str = "127.0.0.1"
    flower_port: int = Field(default=5555, ge=0, le=65_535)
    flower_basic_auth: SecretStr | None = Field(default=None, description="user:password for Flower")

    metrics_host: str = Field(default="127.0.0.1", description="where worker and scheduler serve health and metrics")
    metrics_port: int = Field(
        default=0, ge=0, le=65_535, description="their /healthz, /readyz and /metrics; 0: not served"
    )

    otel_endpoint: str | None = Field(
        default=None, description="OTLP/HTTP address that traces go to, such as http://collector:4318; empty: none"
    )

    cache_dir: str = Field(default="~/.cache/synerdiff", description="profiles and downloaded weights")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "console"

    limits: Limits = Limits()


def _sentence(error: ValidationError) -> str:
    item = error.errors(include_url=False)[0]
    name = PREFIX + "__".join(str(part) for part in item["loc"]).upper()
    secret = any(word in name for word in ("KEY", "SECRET", "AUTH", "URL"))
    value = "" if secret else f"; got {item.get('input')!r}"
    message = item["msg"]
    return f"{name}: {message[0].lower()}{message[1:]}{value}"


def _not_json(error: NotParsed) -> str:
    """A setting of several values is not JSON; the library tells which in its text alone."""
    field = str(error).partition('field "')[2].partition('"')[0]
    name = PREFIX + field.upper()
    return f"{name}: must be a JSON object; got {os.environ.get(name)!r}"


def load(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings from the environment, with ``overrides`` (options of a command) on top.

    Raises :class:`SettingsError` with a sentence that names the variable.
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in os.environ:
        stem = name.split("__")[0]
        if name.startswith(PREFIX) and stem not in known and not name.startswith(f"{PREFIX}TEST_"):
            raise SettingsError(f"{name} is not a setting; see `synerdiff doctor --settings` for the list", field=name)
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None
    except NotParsed as error:
        raise SettingsError(_not_json(error)) from None
