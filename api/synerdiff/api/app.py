"""The gateway as a FastAPI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from synerdiff.api import errors, images, jobs, listing, site, watch
from synerdiff.api.context import Gateway
from synerdiff.api.hub import EventHub
from synerdiff.api.keys import Keys
from synerdiff.api.metrics import Measured, Metrics
from synerdiff.api.outlook import Outlook
from synerdiff.api.partial import MAX_PARTIAL_IMAGES
from synerdiff.api.probe import Probe
from synerdiff.api.schema import job_schema
from synerdiff.api.streams import Streams
from synerdiff.api.webhooks import Rules, Secrets, Webhooks
from synerdiff.client.backend import Backend
from synerdiff.settings import Settings

DESCRIPTION = "Enqueue image-generation jobs, follow them, fetch their images."


def create_app(settings: Settings) -> FastAPI:
    """Build the gateway. Raises :class:`LedgerUnavailable` or :class:`SettingsError` with a sentence."""
    gateway = _gateway(settings)
    app = FastAPI(
        title="SynerDiff",
        version=version("synerdiff"),
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's own pages load scripts from another host
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.gateway = gateway
    app.add_middleware(Measured, metrics=gateway.metrics, tracing=gateway.backend.tracing)
    errors.install(app)
    for router in (jobs.router, listing.router, images.router, watch.router):
        app.include_router(router)
    site.install(app)
    _describe(app, settings)
    return app


def _gateway(settings: Settings) -> Gateway:
    keys = Keys(settings.api_keys.get_secret_value())
    backend = Backend.connect(settings)
    ledger = backend.ledger

    def ended(job_id: str) -> bool:
        view = ledger.get(job_id)
        return view is None or view.state.final

    hub = EventHub(ledger.events_of, ledger.events, ended)
    rules = Rules.parse(settings.webhook_hosts, settings.webhook_networks)
    secrets = Secrets(settings.webhook_secrets.get_secret_value())
    metrics = Metrics()
    return Gateway(
        settings,
        backend,
        keys,
        hub,
        metrics,
        Outlook(ledger, backend.catalogue.pool),
        Webhooks(backend, rules, secrets, lambda outcome: metrics.webhooks.labels(outcome).inc()),
        Streams(settings.tenant_streams),
        Probe(backend.store.check),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    gateway: Gateway = app.state.gateway
    gateway.hub.start()
    webhooks = asyncio.create_task(gateway.webhooks.run(), name="webhooks")
    yield
    webhooks.cancel()
    await asyncio.gather(webhooks, return_exceptions=True)
    gateway.hub.stop()
    gateway.backend.close()


def _describe(app: FastAPI, settings: Settings) -> None:
    """Put into the OpenAPI document what the settings decide: a job's caps, and whether keys are asked."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
            found["components"]["schemas"] |= _request_schemas(settings)
            if not settings.api_keys.get_secret_value():
                _without_keys(found)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _without_keys(document: dict[str, Any]) -> None:
    """A gateway without keys asks for none, so its document should not either."""
    document["components"].pop("securitySchemes", None)
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)


def _request_schemas(settings: Settings) -> dict[str, Any]:
    job = job_schema(settings.limits)
    own = {
        "size": {"type": "string", "description": "WIDTHxHEIGHT or auto"},
        "response_format": {"enum": ["url", "b64_json"], "default": "url"},
        "stream": {"type": "boolean", "default": False},
        "partial_images": {"type": "integer", "minimum": 0, "maximum": MAX_PARTIAL_IMAGES, "default": 0},
        "output_format": job["properties"]["format"],
        "quality": {"type": "string", "description": "exact, balanced or fast; OpenAI's names work too"},
        "user": {"type": "string", "description": "kept in the job's metadata"},
    }
    return {
        "JobFields": {**job, "title": "JobFields"},
        "ImagesRequest": {**job, "title": "ImagesRequest", "properties": job["properties"] | own},
    }
