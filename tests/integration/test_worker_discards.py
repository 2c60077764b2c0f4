"""No image stays behind of a job that was cancelled or ran out of time after a worker had begun it."""

from __future__ import annotations

import pytest
import redis

from synerdiff.cli.embedded import S3Access
from synerdiff.ledger import Claim, Ledger, LedgerConfig, ManualClock, WorkerReport
from synerdiff.protocol import ErrorInfo, Job, JobResult, JobState, Receipt, Timings
from synerdiff.protocol.errors import StorageUnavailable
from synerdiff.storage import Store, StoreConfig, image_key
from synerdiff.workers.discards import Discards

POOL = "pool"
RESULT = JobResult(images=[], timings=Timings(), receipt=Receipt())


class Bench:
    """One ledger on a clock moved by hand, and a store."""

    def __init__(self, client: redis.Redis, s3: S3Access) -> None:
        self.clock = ManualClock()
        self.ledger = Ledger(client, LedgerConfig(clock=self.clock))
        self.store = Store(StoreConfig(s3.endpoint, s3.bucket, s3.access_key, s3.secret_key))
        self.discards = Discards(self.ledger, self.store, pool=POOL, prefix="images/")
        self.ledger.heartbeat(WorkerReport(name="w", pool=POOL, capacity=4), 1e6)

    def begun(self, job_id: str, deadline_s: float | None = None, tenant: str = "default") -> Claim:
        """A job of two images that a worker holds and has stored the first of."""
        job = Job(
            id=job_id, model="m", prompt="p", width=64, height=64, seed=1, n=2, deadline_s=deadline_s, tenant=tenant
        )
        self.ledger.submit(job, POOL)
        claim = self.ledger.claim(job_id, worker="w", nonce=job_id, lease_s=1e6)
        assert isinstance(claim, Claim)
        self.store.put_image(image_key("images/", job, 0), b"pixels", "image/png")
        return claim

    def kept(self, key: str) -> bool:
        """Whether the job's first image is still there after a sweep."""
        self.discards.sweep()
        return self.store.head(f"images/{key}/0.png") is not None


@pytest.fixture
def bench(redis_client: redis.Redis, s3: S3Access) -> Bench:
    return Bench(redis_client, s3)


def test_images_of_a_cancelled_job_go_once_a_late_writer_has_had_its_time(bench: Bench) -> None:
    bench.begun("a")
    bench.ledger.cancel("a")
    bench.clock.advance(59)
    assert bench.kept("a")
    bench.clock.advance(2)
    assert not bench.kept("a")
    assert bench.ledger.due_discards(POOL, 10) == []


def test_a_tenants_images_go_and_anothers_stay(bench: Bench) -> None:
    bench.begun("a", tenant="red")
    bench.store.put_image("images/a/0.png", b"of the tenant default", "image/png")
    bench.ledger.cancel("a")
    bench.clock.advance(61)
    assert not bench.kept("red/a")
    assert bench.kept("a")


def test_images_of_an_expired_job_go(bench: Bench) -> None:
    claim = bench.begun("a", deadline_s=5)
    bench.clock.advance(6)
    assert bench.ledger.finish("a", claim.token, RESULT).state is JobState.EXPIRED
    bench.clock.advance(61)
    assert not bench.kept("a")


def test_images_of_results_and_of_jobs_that_can_be_retried_stay(bench: Bench) -> None:
    done, failed = bench.begun("done"), bench.begun("failed")
    bench.ledger.finish("done", done.token, RESULT)
    bench.ledger.fail("failed", failed.token, ErrorInfo(code="engine_error", message="it failed"))
    bench.clock.advance(1000)
    assert bench.kept("done")
    assert bench.kept("failed")


def test_a_job_that_never_began_is_not_swept(bench: Bench, redis_client: redis.Redis) -> None:
    bench.ledger.submit(Job(id="a", model="m", prompt="p", width=64, height=64, seed=1), POOL)
    bench.ledger.cancel("a")
    assert not redis_client.exists(f"synerdiff:discard:{POOL}")


def test_what_could_not_be_deleted_is_due_again(bench: Bench) -> None:
    class Away:
        def delete(self, key: str) -> None:
            raise StorageUnavailable("S3 is away")

    bench.begun("a")
    bench.ledger.cancel("a")
    bench.clock.advance(61)
    with pytest.raises(StorageUnavailable):
        Discards(bench.ledger, Away(), pool=POOL, prefix="images/").sweep()
    bench.clock.advance(61)
    assert not bench.kept("a")
