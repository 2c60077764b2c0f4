"""What tenants see of each other, and what each may have: jobs, ids, streams, room in the queue."""

from __future__ import annotations

import httpx
from pydantic import SecretStr

from synerdiff.protocol import ModelEntry
from synerdiff.settings import Settings
from tests.fake_worker import MODEL, POOL
from tests.gateway_server import error_of, served
from tests.support import wait_until


def test_tenants_see_their_own_jobs_alone(settings: Settings) -> None:
    with served(settings.model_copy(update={"api_keys": SecretStr("red:r-key,blue:b-key")})) as here:
        here.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        with httpx.Client(base_url=here.url, timeout=30) as http:
            red, blue = ({"Authorization": f"Bearer {key}"} for key in ("r-key", "b-key"))
            job = http.post("/v1/jobs", json={"prompt": "hold"}, headers=red).json()
            assert http.get(job["url"], headers=red).json()["job"]["tenant"] == "red"
            for method, url in (("GET", job["url"]), ("DELETE", job["url"]), ("GET", job["events_url"])):
                error_of(http.request(method, url, headers=blue), 404, "job_not_found")
                error_of(http.request(method, url), 401, "unauthorized")
                error_of(http.request(method, url, headers={"Authorization": "Bearer wrong"}), 401, "unauthorized")
            assert http.get(job["url"], headers=red).json()["state"] == "queued"
            foreign = http.post("/v1/jobs", json={"prompt": "x", "tenant": "red"}, headers=blue)
            error_of(foreign, 403, "forbidden")
            for path in ("/v1/models", "/v1/status"):
                error_of(http.get(path), 401, "unauthorized")
                assert http.get(path, headers=blue).status_code == 200
            for path in ("/", "/healthz", "/readyz", "/metrics"):
                assert http.get(path).status_code == 200
            key = {"Idempotency-Key": "k"}
            both = [http.post("/v1/jobs", json={"prompt": "x"}, headers=who | key).json()["id"] for who in (red, blue)]
            assert both[0] != both[1]


def test_an_id_in_use_by_another_tenant_tells_nothing(settings: Settings) -> None:
    with served(settings.model_copy(update={"api_keys": SecretStr("red:r-key,blue:b-key")})) as here:
        here.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        red, blue = ({"Authorization": f"Bearer {key}"} for key in ("r-key", "b-key"))
        body = {"prompt": "a secret fox", "id": "mine-1"}
        assert httpx.post(f"{here.url}/v1/jobs", json=body, headers=red).status_code == 202
        reply = httpx.post(f"{here.url}/v1/jobs", json=body, headers=blue)
        error_of(reply, 409, "idempotency_conflict")
        assert "secret" not in reply.text


def test_a_full_queue_is_backpressure(settings: Settings) -> None:
    with served(settings.model_copy(update={"max_queue": 1})) as here:
        here.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        assert httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x"}).status_code == 202
        reply = httpx.post(f"{here.url}/v1/jobs", json={"prompt": "x"})
        assert error_of(reply, 429, "overloaded")["retryable"] is True
        assert int(reply.headers["Retry-After"]) >= 1


def test_a_tenant_has_so_many_streams(settings: Settings) -> None:
    with (
        served(settings.model_copy(update={"tenant_streams": 1})) as here,
        httpx.Client(base_url=here.url, timeout=30) as http,
    ):
        here.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        job = http.post("/v1/jobs", json={"prompt": "hold"}).json()
        with http.stream("GET", job["events_url"]) as first:
            assert first.status_code == 200
            reply = http.get(job["events_url"])
            assert "may have 1 event streams open" in error_of(reply, 429, "too_many_streams")["message"]
            assert int(reply.headers["Retry-After"]) >= 1
            reply = http.post("/v1/images/generations", json={"prompt": "hold", "stream": True})
            error_of(reply, 429, "too_many_streams")
            assert len(here.gateway.backend.ledger.list_jobs(pool=POOL)) == 1
        http.delete(job["url"])
        wait_until(lambda: http.get(job["events_url"]).status_code == 200, what="the first stream is counted out")
