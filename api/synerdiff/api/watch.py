"""What people and machines watch: models, the fleet's state, health, metrics."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel
from starlette.responses import PlainTextResponse

from synerdiff.api.context import Gateway, gateway_of
from synerdiff.api.keys import Tenant
from synerdiff.api.probe import reason_of
from synerdiff.api.schema import errors_of
from synerdiff.protocol import ModelEntry

router = APIRouter()
Here = Annotated[Gateway, Depends(gateway_of)]


class Model(ModelEntry):
    """A model in the shape of OpenAI's list, with what the catalogue knows of it."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "synerdiff"


class Models(BaseModel):
    """Every model that jobs may ask for."""

    object: str = "list"
    data: list[Model]


class PoolStatus(BaseModel):
    """One pool: its load, its workers' reports, and the head of each profile's plan."""

    pool: str
    load: dict[str, Any]
    workers: list[dict[str, Any]]
    plans: dict[str, dict[str, str]]


class Status(BaseModel):
    """The fleet as the ledger sees it."""

    pools: list[PoolStatus]
    streams: int


class Ready(BaseModel):
    """Whether requests can be served; ``checks`` has ``ok`` or the reason."""

    ready: bool
    checks: dict[str, str]


@router.get("/v1/models", response_model=Models, responses=errors_of(401, 503), tags=["models"])
def models(gateway: Here, _: Tenant) -> Models:
    """The models that jobs may ask for, those whose workers are scaled to zero included."""
    entries = gateway.backend.catalogue.entries()
    return Models(data=[Model(id=entry.name, **entry.model_dump()) for entry in entries])


@router.get("/v1/status", response_model=Status, responses=errors_of(401, 503), tags=["watch"])
def status(gateway: Here, _: Tenant) -> Status:
    """Queue, workers and plan of every pool."""
    pools = [pool_status(gateway, pool) for pool in gateway.backend.ledger.pools()]
    return Status(pools=pools, streams=gateway.hub.followers)


def pool_status(gateway: Gateway, pool: str) -> PoolStatus:
    """One pool's state, from its counters: no job is read."""
    ledger = gateway.backend.ledger
    workers = ledger.workers(pool)
    profiles = {worker.profile_id for worker in workers if worker.profile_id}
    plans = {profile: ledger.get_plan(pool, profile) for profile in sorted(profiles)}
    return PoolStatus(
        pool=pool,
        load=asdict(ledger.load(pool)),
        workers=[worker.model_dump(mode="json", exclude={"held"}) for worker in workers],  # other tenants' jobs
        plans={profile: plan for profile, plan in plans.items() if plan},
    )


@router.get("/healthz", tags=["watch"])
async def healthz() -> dict[str, str]:
    """The process answers. On the event loop, since requests that wait for Redis may hold every thread."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Ready, responses={503: {"model": Ready}}, tags=["watch"])
def readyz(gateway: Here, response: Response) -> Ready:
    """Whether jobs can be taken. S3 alone being away does not stop that: jobs wait for it."""
    checks = {"redis": reason_of(gateway.backend.ledger.server_time), "s3": gateway.s3.reason()}
    ready = checks["redis"] == "ok"
    response.status_code = 200 if ready else 503
    return Ready(ready=ready, checks=checks)


@router.get("/metrics", response_class=PlainTextResponse, tags=["watch"])
def metrics(gateway: Here) -> Response:
    """Prometheus metrics of this gateway and of the queue."""
    body, media_type = gateway.metrics.render(gateway.backend.ledger, gateway.hub.followers)
    return Response(body, headers={"Content-Type": media_type})
