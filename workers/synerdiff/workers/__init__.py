"""The GPU worker: a Celery worker that keeps the engine in a process of its own. Import :mod:`main` to run one."""
