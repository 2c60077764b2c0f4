"""``worker``, ``scheduler``, ``gateway`` and ``flower``: one service in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from synerdiff.cli.vocabulary import SERVICE

WORKER_EPILOG = f"""
[bold]Examples[/bold]

  SYNERDIFF_REDIS_URL=redis://queue:6379/0 SYNERDIFF_S3_BUCKET=images synerdiff worker
  synerdiff worker --model sd15 --model-path /models/stable-diffusion-v1-5 --device cuda:0 --capacity 32
  celery -A synerdiff.workers.app worker     does the same

SIGTERM: takes no new jobs, finishes what fits in SYNERDIFF_GRACE_S, hands the rest back, exits 0.

{SERVICE}
"""

SCHEDULER_EPILOG = f"""
[bold]Examples[/bold]

  SYNERDIFF_REDIS_URL=redis://queue:6379/0 synerdiff scheduler
  SYNERDIFF_METRICS_PORT=9000 synerdiff scheduler     with /healthz, /readyz and /metrics

Run two for availability: one leads, the other stands by. It also takes the jobs that producers send with Celery alone.

{SERVICE}
"""

GATEWAY_EPILOG = f"""
[bold]Examples[/bold]

  synerdiff gateway --port 8000
  SYNERDIFF_API_KEYS=red:KEY,blue:sha256=HEX synerdiff gateway --host 0.0.0.0     a key for each tenant

It serves /v1/jobs, /v1/images/generations, a page at /, and /openapi.json. Without keys it serves whoever reaches the \
port, so it listens on the loopback address unless told otherwise.

{SERVICE}
"""

FLOWER_EPILOG = f"""
[bold]Examples[/bold]

  synerdiff flower --port 5555
  SYNERDIFF_FLOWER_BASIC_AUTH=ops:secret synerdiff flower

Flower's API answers 401 until a user and password are set; its pages are open to whoever reaches the port, \
so it listens on the loopback address unless told otherwise.

{SERVICE}
"""


def worker(
    model: Annotated[str | None, typer.Option(help="name that jobs ask for \\[SYNERDIFF_MODEL]")] = None,
    model_path: Annotated[
        str | None, typer.Option(help="directory or hub id of the weights \\[SYNERDIFF_MODEL_PATH]")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N \\[SYNERDIFF_DEVICE]")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, float16 or bfloat16 \\[SYNERDIFF_DTYPE]")] = None,
    capacity: Annotated[int | None, typer.Option(help="jobs held at a time \\[SYNERDIFF_CAPACITY]")] = None,
    threads: Annotated[int | None, typer.Option(help="torch threads, 0 chooses \\[SYNERDIFF_THREADS]")] = None,
) -> None:
    """Run a GPU worker: claims jobs, denoises them in one continuous batch, stores the images."""
    from synerdiff.cli.extras import require

    require("worker")
    from synerdiff.settings import load
    from synerdiff.workers.main import run_worker

    options = {"model": model, "model_path": model_path, "device": device, "dtype": dtype}
    raise typer.Exit(run_worker(load({**options, "capacity": capacity, "threads": threads})))


def scheduler() -> None:
    """Run the scheduler service: plans for the workers, lost hints sent again, lapsed leases reaped."""
    from synerdiff.cli.extras import require

    require("scheduler")
    from synerdiff.scheduler import run_scheduler
    from synerdiff.settings import load

    raise typer.Exit(run_scheduler(load()))


def gateway(
    host: Annotated[str | None, typer.Option(help="address to listen on \\[SYNERDIFF_GATEWAY_HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on \\[SYNERDIFF_GATEWAY_PORT]")] = None,
) -> None:
    """Run the HTTP gateway: jobs, events, the OpenAI Images endpoint, health and metrics."""
    from synerdiff.cli.extras import require

    require("gateway")
    from synerdiff.api import run_gateway
    from synerdiff.settings import load

    raise typer.Exit(run_gateway(load({"gateway_host": host, "gateway_port": port})))


def flower(
    host: Annotated[str | None, typer.Option(help="address to listen on \\[SYNERDIFF_FLOWER_HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on \\[SYNERDIFF_FLOWER_PORT]")] = None,
) -> None:
    """Run Flower on this fleet's broker: every job as a task, with its worker, state and runtime."""
    from synerdiff.cli.extras import require

    require("flower")
    from synerdiff.cli.flower import run_flower
    from synerdiff.settings import load

    raise typer.Exit(run_flower(load({"flower_host": host, "flower_port": port})))
