"""The one settings object, read once at the edge from ``SYNERDIFF_*`` variables."""

from synerdiff.settings.settings import Settings, load

__all__ = ["Settings", "load"]
