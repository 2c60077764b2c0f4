"""Webhooks: a signed message to the producer's server when a job has ended."""

from synerdiff.api.webhooks.message import Secrets
from synerdiff.api.webhooks.service import Webhooks
from synerdiff.api.webhooks.target import Rules

__all__ = ["Rules", "Secrets", "Webhooks"]
