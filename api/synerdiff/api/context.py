"""What every request handler needs, made once when the gateway starts."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from synerdiff.api.hub import EventHub
from synerdiff.api.keys import Keys
from synerdiff.api.metrics import Metrics
from synerdiff.api.outlook import Outlook
from synerdiff.api.probe import Probe
from synerdiff.api.streams import Streams
from synerdiff.api.webhooks import Webhooks
from synerdiff.client.backend import Backend
from synerdiff.settings import Settings


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway's parts."""

    settings: Settings
    backend: Backend
    keys: Keys
    hub: EventHub
    metrics: Metrics
    outlook: Outlook
    webhooks: Webhooks
    streams: Streams
    s3: Probe


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves this request (a FastAPI dependency)."""
    gateway: Gateway = request.app.state.gateway
    return gateway
