"""The app for ``celery -A synerdiff.workers.app worker``; settings come from the environment."""

from synerdiff.settings import load
from synerdiff.workers.celeryapp import build_app

app = build_app(load())
