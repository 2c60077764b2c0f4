"""A web service that makes an avatar for each of its users, in the background.

uvicorn --app-dir examples fastapi_service:app
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request

from synerdiff.client import AsyncClient, JobNotFound, Overloaded


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the life of the service."""
    async with AsyncClient() as client:
        app.state.images = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/avatars/{user}", status_code=202)
async def order(user: str, request: Request) -> dict[str, str]:
    """Order an avatar. Ordering twice gives the same job: the key is the user's name."""
    client: AsyncClient = request.app.state.images
    try:
        job_id = await client.submit(
            prompt="a smiling face", steps=10, idempotency_key=f"avatar:{user}", metadata={"user": user}
        )
    except Overloaded as error:
        raise HTTPException(503, "too many orders", headers={"Retry-After": str(round(error.retry_after_s))}) from None
    return {"job": job_id}


@app.get("/avatars/{job_id}")
async def show(job_id: str, request: Request) -> dict[str, str | None]:
    """Where the avatar is, with a link once it is there."""
    client: AsyncClient = request.app.state.images
    try:
        view = await client.get(job_id, urls=True)
    except JobNotFound:
        raise HTTPException(404, "no such order") from None
    return {"state": view.state.value, "url": view.images[0].url if view.images else None}
