"""``/v1/jobs``: submit, look at, follow, cancel."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from synerdiff.api.body import json_object
from synerdiff.api.context import Gateway, gateway_of
from synerdiff.api.errors import InvalidRequest
from synerdiff.api.following import sent
from synerdiff.api.keys import DEFAULT_TENANT, TENANT, Tenant
from synerdiff.api.schema import JOB_BODY, JOB_ID, SUBMIT_ERRORS, errors_of
from synerdiff.api.streams import EventStream
from synerdiff.client.images import with_urls
from synerdiff.ledger import Submission
from synerdiff.protocol import FieldError, JobState, JobView
from synerdiff.protocol.errors import Forbidden, JobNotFound, RateLimited

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
STREAM = {"text/event-stream": {"schema": {"type": "string"}}}
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EVENT_ID = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")
_MAX_EVENT_NUMBER = 2**64 - 1  # of each half of a stream id; Redis refuses more

Body = Annotated[dict[str, Any], Depends(json_object)]
Here = Annotated[Gateway, Depends(gateway_of)]
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, description="the same key again returns the first job")
]


_ACCEPTED: JsonDict = {
    "id": "01JDM1TWXTV0P6Y6M0ZJ4JZ0QK",
    "state": "queued",
    "created": True,
    "url": "/v1/jobs/01JDM1TWXTV0P6Y6M0ZJ4JZ0QK",
    "events_url": "/v1/jobs/01JDM1TWXTV0P6Y6M0ZJ4JZ0QK/events",
}


class Accepted(BaseModel):
    """A job that is stored. ``created`` is false when the idempotency key or id had stored it before."""

    model_config = ConfigDict(json_schema_extra={"example": _ACCEPTED})

    id: str
    state: JobState
    created: bool
    url: str
    events_url: str


class JobStatus(JobView):
    """A job; an open one with how many start before it and in about how many seconds its images are done."""

    position: int | None = None
    eta_s: float | None = None


def for_tenant(fields: dict[str, Any], tenant: str | None) -> dict[str, Any]:
    """The job's fields with the key's tenant in them. Raises :class:`Forbidden` when they name another."""
    if tenant is None:
        return fields
    if fields.get("tenant") not in (None, tenant):
        raise Forbidden("tenant must be left out or be the key's own", field="tenant")
    return {**fields, "tenant": tenant}


def admitted(gateway: Gateway, fields: dict[str, Any], tenant: str | None) -> dict[str, Any]:
    """The fields of a job that this tenant may submit now.

    Raises :class:`Forbidden`, :class:`RateLimited` or :class:`InvalidJob`.
    """
    found = for_tenant(fields, tenant)
    limit(gateway, found.get("tenant"))
    gateway.webhooks.check(found)
    return found


def stored(
    gateway: Gateway, fields: dict[str, Any], tenant: str | None, idempotency_key: str | None = None
) -> Submission:
    """Store a job for this tenant; blocks."""
    return gateway.backend.submit(admitted(gateway, fields, tenant), idempotency_key)


def limit(gateway: Gateway, tenant: Any) -> None:
    """Count a submit against its tenant's rate. Raises :class:`RateLimited`."""
    rate, burst = gateway.settings.tenant_rate, gateway.settings.tenant_burst
    if rate <= 0:
        return
    name = tenant if isinstance(tenant, str) and TENANT.fullmatch(tenant) else DEFAULT_TENANT
    wait_s = gateway.backend.ledger.take_token(name, rate, burst)
    if wait_s > 0:
        message = f"tenant {name} may submit {rate:g} jobs a second, {burst} at once; try again in {wait_s:.1f} s"
        raise RateLimited(message, retry_after_s=wait_s)


def owned(gateway: Gateway, job_id: str, tenant: str | None) -> JobView:
    """A job of this tenant. Raises :class:`JobNotFound`, for another tenant's too: ids tell nothing."""
    view = gateway.backend.ledger.get(job_id) if _ID.fullmatch(job_id) else None
    if view is None or (tenant is not None and view.job.tenant != tenant):
        raise JobNotFound(f"no job has the id {job_id[:80]!r}; finished jobs are kept for a day", field="id")
    return view


@router.post("", status_code=202, response_model=Accepted, responses=SUBMIT_ERRORS, openapi_extra=JOB_BODY)
async def submit(
    response: Response,
    gateway: Here,
    tenant: Tenant,
    fields: Body,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    """Store a job; it runs as soon as a worker is free."""
    submission = await run_in_threadpool(stored, gateway, fields, tenant, idempotency_key)
    state = JobState.QUEUED
    if not submission.created:
        state = (await run_in_threadpool(owned, gateway, submission.id, tenant)).state
    gateway.metrics.submitted.labels(created=str(submission.created).lower()).inc()
    url = f"/v1/jobs/{submission.id}"
    response.headers["Location"] = url
    return Accepted(id=submission.id, state=state, created=submission.created, url=url, events_url=f"{url}/events")


@router.get("/{job_id}", response_model=JobStatus, responses=errors_of(401, 404, 503))
def get(job_id: JOB_ID, gateway: Here, tenant: Tenant) -> JobStatus:
    """The job as it stands; finished images come with presigned URLs."""
    view = owned(gateway, job_id, tenant)
    if view.images:
        view = with_urls(view, gateway.backend.store, gateway.settings.presign_expiry_s)
    expected = gateway.outlook.of(view)
    return JobStatus(**dict(view), position=expected.position, eta_s=expected.eta_s)


@router.delete("/{job_id}", response_model=JobView, responses=errors_of(401, 404, 409, 422, 503))
def cancel(
    job_id: JOB_ID,
    gateway: Here,
    tenant: Tenant,
    purge: Annotated[bool, Query(description="delete a job that has ended, with its images")] = False,
) -> JobView:
    """Cancel a job; one that has ended stays as it is, and with ``purge`` is deleted with its images."""
    owned(gateway, job_id, tenant)
    if purge:
        return gateway.backend.delete(job_id)
    gateway.backend.cancel(job_id)
    return gateway.backend.view(job_id)


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses={
        200: {"content": STREAM},
        **errors_of(401, 404, 422, 429, 503),
    },
)
async def events(
    request: Request,
    job_id: JOB_ID,
    gateway: Here,
    tenant: Tenant,
    previews: Annotated[bool, Query(description="small pictures of unfinished images too")] = False,
    last_event_id: Annotated[str | None, Header(description="go on after this event's id")] = None,
) -> EventSourceResponse:
    """Follow a job as server-sent events: ``event`` is the kind, ``data`` the event as JSON, to the job's end.

    Without ``id``: news of a queued job's position, and previews.
    """
    after = _after(last_event_id)
    view = await run_in_threadpool(owned, gateway, job_id, tenant)
    with ExitStack() as held:
        held.enter_context(gateway.streams.one(tenant))
        return EventStream(sent(gateway, view, after, previews=previews), held.pop_all())


def _after(last_event_id: str | None) -> str:
    if not last_event_id:
        return "0"
    well_formed = _EVENT_ID.fullmatch(last_event_id)
    if not well_formed or any(int(number) > _MAX_EVENT_NUMBER for number in last_event_id.split("-")):
        message = "Last-Event-ID must be an id that this stream sent, such as 1700000000000-0"
        raise InvalidRequest([FieldError(field="Last-Event-ID", message=message)])
    return last_event_id
