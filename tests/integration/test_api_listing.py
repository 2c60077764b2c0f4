"""``GET /v1/jobs``: whose jobs, which, and how many."""

from __future__ import annotations

import httpx
import redis
from pydantic import SecretStr

from synerdiff.protocol import ModelEntry
from synerdiff.settings import Settings
from tests.fake_worker import MODEL, POOL, FakeWorker
from tests.gateway_server import served


def test_the_newest_jobs_come_with_their_images(settings: Settings) -> None:
    with served(settings) as here, httpx.Client(base_url=here.url, timeout=30) as http:
        backend = here.gateway.backend
        with FakeWorker(backend.ledger, backend.store).running():
            ids = [http.post("/v1/jobs", json={"prompt": f"cat {n}", "steps": 1}).json()["id"] for n in range(3)]
            for job_id in ids:
                assert list(http.get(f"/v1/jobs/{job_id}/events").iter_lines())
            held = http.post("/v1/jobs", json={"prompt": "hold"}).json()["id"]
        listed = http.get("/v1/jobs").json()
        assert listed["object"] == "list"
        assert [view["id"] for view in listed["data"]] == [held, *reversed(ids)]
        assert httpx.get(listed["data"][1]["images"][0]["url"]).content.startswith(b"\x89PNG")
        assert [view["id"] for view in http.get("/v1/jobs?limit=2").json()["data"]] == [held, ids[2]]
        assert [view["id"] for view in http.get("/v1/jobs?state=queued").json()["data"]] == [held]
        assert http.get("/v1/jobs?state=running").json()["data"] == []
        for query, field in (("limit=0", "limit"), ("limit=101", "limit"), ("state=odd", "state")):
            reply = http.get(f"/v1/jobs?{query}")
            assert (reply.status_code, reply.json()["error"]["field"]) == (422, field)


def test_running_jobs_are_found_behind_a_long_queue(settings: Settings) -> None:
    with served(settings) as here, httpx.Client(base_url=here.url, timeout=30) as http:
        backend = here.gateway.backend
        worker = FakeWorker(backend.ledger, backend.store)
        worker.register()
        ids = [http.post("/v1/jobs", json={"prompt": "hold"}).json()["id"] for _ in range(3)]
        backend.ledger.claim(ids[0], worker=worker.name, nonce="n", lease_s=60.0)
        assert [view["id"] for view in http.get("/v1/jobs?state=running").json()["data"]] == [ids[0]]


def test_a_tenant_lists_its_own_jobs(settings: Settings, redis_client: redis.Redis) -> None:
    with served(settings.model_copy(update={"api_keys": SecretStr("red:r-key,blue:b-key")})) as here:
        here.gateway.backend.ledger.put_model(ModelEntry(name=MODEL, pool=POOL))
        with httpx.Client(base_url=here.url, timeout=30) as http:
            red, blue = ({"Authorization": f"Bearer {key}"} for key in ("r-key", "b-key"))
            mine = http.post("/v1/jobs", json={"prompt": "x"}, headers=red).json()["id"]
            assert [view["id"] for view in http.get("/v1/jobs", headers=red).json()["data"]] == [mine]
            assert http.get("/v1/jobs", headers=blue).json()["data"] == []
            assert http.get("/v1/jobs").status_code == 401
