"""``GET /v1/jobs``: the newest jobs of a tenant, for people who browse."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from synerdiff.api.context import Gateway, gateway_of
from synerdiff.api.keys import Tenant
from synerdiff.api.schema import errors_of
from synerdiff.client.images import with_urls
from synerdiff.protocol import JobState, JobView

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
AMONG = 1000
MOST = 100


class Jobs(BaseModel):
    """Jobs, newest first; finished images come with presigned URLs."""

    object: str = "list"
    data: list[JobView]


@router.get("", response_model=Jobs, responses=errors_of(401, 422, 503))
def newest(
    gateway: Annotated[Gateway, Depends(gateway_of)],
    tenant: Tenant,
    state: Annotated[JobState | None, Query(description="only jobs in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 20,
) -> Jobs:
    """The newest jobs of the key's tenant, among each pool's newest 1000."""
    found = gateway.backend.ledger.list_jobs(state=state, tenant=tenant, limit=limit, among=AMONG)
    store, expiry_s = gateway.backend.store, gateway.settings.presign_expiry_s
    return Jobs(data=[with_urls(view, store, expiry_s) if view.images else view for view in found])
