"""The real ledger, scheduler and Celery at scale, with simulated engines (``python -m benchmarks.scale``)."""
