"""Traces of jobs from the gateway through the queue and a worker to the stored image, kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from synerdiff.cli.embedded import S3Access
from synerdiff.protocol import JobState
from synerdiff.protocol.errors import SettingsError
from synerdiff.settings import Settings
from synerdiff.telemetry import tracing
from synerdiff.workers.messages import EngineSpec
from synerdiff.workers.worker import GpuWorker
from tests.gateway_server import served
from tests.support import wait_until
from tests.worker_fakes import FACTORY

TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADER = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[ReadableSpan]:
    """Spans as they end; tracing sends each at once instead of in the background."""
    from opentelemetry.sdk.trace import export

    exporter = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "exporter_of", lambda endpoint: exporter)
    monkeypatch.setattr(export, "BatchSpanProcessor", export.SimpleSpanProcessor)

    class Live(list[ReadableSpan]):
        def __iter__(self) -> Iterator[ReadableSpan]:
            return iter(exporter.get_finished_spans())

    return Live()


def settings_of(redis_url: str, s3: S3Access, **changes: Any) -> Settings:
    return Settings.model_validate(
        {
            "redis_url": redis_url,
            "s3_endpoint": s3.endpoint,
            "s3_bucket": s3.bucket,
            "s3_access_key": s3.access_key,
            "s3_secret_key": s3.secret_key,
            "model": "fake",
            "limits": {"max_steps": 1000},  # so that both jobs are in the engine for a while
            **changes,
        }
    )


@pytest.fixture
def worker(redis_url: str, s3: S3Access, request: pytest.FixtureRequest) -> Iterator[GpuWorker]:
    spec = EngineSpec(model="fake", factory=FACTORY, log_level="CRITICAL")
    given = settings_of(redis_url, s3, otel_endpoint=getattr(request, "param", "http://memory"))
    started = GpuWorker.launch(
        given, name="w-1", capacity=4, spec=spec, send_hints=lambda job_ids: None, on_failing=lambda: None
    )
    yield started
    started.abandon()
    for periodic in started._periodic:
        periodic.stop()
    started.ledger.close()


def run(worker: GpuWorker, job_ids: list[str]) -> None:
    wait_until(lambda: worker.ledger.workers("fake"), what="the registration")
    threads = [threading.Thread(target=worker.follow, args=(each,)) for each in job_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for job_id in job_ids:
        view = worker.ledger.get(job_id)
        assert view is not None
        assert view.state is JobState.SUCCEEDED


def named(spans: list[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def test_a_job_is_one_trace_from_request_to_upload_and_slots_link_to_it(
    spans: list[ReadableSpan], worker: GpuWorker, redis_url: str, s3: S3Access, redis_client: redis.Redis
) -> None:
    given = settings_of(redis_url, s3, otel_endpoint="http://memory")
    fields = {"prompt": "xylophone", "width": 64, "height": 64, "steps": 1000, "sampler": "ddim"}
    with served(given) as here:
        replies = [httpx.post(f"{here.url}/v1/jobs", json=fields, headers=headers) for headers in (HEADER, {})]
    ids = [reply.json()["id"] for reply in replies]
    run(worker, ids)
    wait_until(lambda: len(named(spans, "job")) == 2, what="the jobs' spans")

    mine = {span.name: span for span in spans if trace_of(span) == TRACE}
    parents = {name: span.parent.span_id for name, span in mine.items() if span.parent}
    inside = {span.context.span_id: name for name, span in mine.items() if span.context}
    assert {name: inside.get(parent, "the caller") for name, parent in parents.items()} == {
        "POST /v1/jobs": "the caller",
        "submit": "POST /v1/jobs",
        "queued": "submit",
        "job": "submit",
        "encode": "job",
        "denoise": "job",
        "decode_wait": "job",
        "decode": "job",
        "upload": "job",
    }
    assert (mine["decode"].end_time or 0) - (mine["decode"].start_time or 0) == pytest.approx(0.4e9, rel=1e-3)

    jobs = {span.context.span_id: dict(span.attributes or {})["job_id"] for span in named(spans, "job") if span.context}
    assert set(jobs.values()) == set(ids)
    shared = [span for span in named(spans, "slot") if len(span.links) == 2]
    assert shared
    assert {jobs[link.context.span_id] for link in shared[0].links} == set(ids)
    assert "xylophone" not in str([span.to_json() for span in spans])
    assert all("trace" not in str(message) for message in redis_client.lrange("synerdiff.fake", 0, -1))


@pytest.mark.parametrize("worker", [None], indirect=True)
def test_without_an_endpoint_nothing_is_traced_or_stored(
    spans: list[ReadableSpan], worker: GpuWorker, redis_url: str, s3: S3Access, redis_client: redis.Redis
) -> None:
    with served(settings_of(redis_url, s3)) as here:
        reply = httpx.post(
            f"{here.url}/v1/jobs", json={"prompt": "cat", "width": 64, "height": 64, "steps": 2}, headers=HEADER
        )
    job_id = reply.json()["id"]
    run(worker, [job_id])
    assert list(spans) == []
    assert "traceparent" not in str(redis_client.hget(f"synerdiff:job:{job_id}", "job"))


def test_a_damaged_parent_begins_a_trace_of_its_own(spans: list[ReadableSpan]) -> None:
    traced = tracing.tracing_of("test", "http://memory")
    with traced.span("outer", "00-nonsense"):
        assert traced.carrier().startswith("00-")
    [span] = spans
    assert span.parent is None


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"SYNERDIFF_OTEL_ENDPOINT .* pip install 'synerdiff\[otel\]'"):
        tracing.exporter_of("http://collector:4318")
