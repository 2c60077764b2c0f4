"""The HTTP gateway: jobs, progress, OpenAI-compatible images, health, metrics and a page."""

from synerdiff.api.app import create_app
from synerdiff.api.serve import run_gateway

__all__ = ["create_app", "run_gateway"]
