"""Dead jobs on the command line: listed with the reason, and queued again by hand."""

from __future__ import annotations

import json

import pytest
import redis
from typer.testing import CliRunner

from synerdiff.cli.main import app
from synerdiff.ledger import Claim, Ledger, LedgerConfig, WorkerReport
from synerdiff.protocol import Job, JobState, ModelEntry
from synerdiff.settings import Settings
from synerdiff.workers.worker import BEAT_S, RENEWALS

MODEL = "tiny-emoji"


def dead_job(ledger: Ledger) -> str:
    """A job that crashed as often as it may while it ran alone."""
    ledger.heartbeat(WorkerReport(name="w", pool=MODEL, capacity=1), 600)
    ledger.put_model(ModelEntry(name=MODEL, pool=MODEL))
    job = Job(model=MODEL, prompt="p", width=128, height=128, seed=1)
    ledger.submit(job, MODEL)
    for turn in range(2):
        claim = ledger.claim(job.id, worker="w", nonce=f"n{turn}", lease_s=10)
        assert isinstance(claim, Claim)
        ledger.hand_back(job.id, claim.token, "the engine process ended by SIGSEGV", "crashed")
    return job.id


def test_dead_jobs_are_listed_with_the_reason_and_can_be_retried(
    redis_client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNERDIFF_REDIS_URL", redis_url)
    job_id = dead_job(Ledger(redis_client, LedgerConfig(max_attempts=1)))
    runner = CliRunner()
    shown = runner.invoke(app, ["jobs", "dead", "--json"])
    assert shown.exit_code == 0, shown.output
    [line] = [json.loads(each) for each in shown.stdout.splitlines()]
    assert (line["id"], line["state"]) == (job_id, "dead")
    assert "ended by SIGSEGV" in line["error"]["message"]
    assert "crashed" in runner.invoke(app, ["jobs", "dead"]).stdout
    again = runner.invoke(app, ["jobs", "retry", job_id])
    assert again.exit_code == 0, again.output
    view = Ledger(redis_client).get(job_id)
    assert view is not None
    assert (view.state, view.attempts) == (JobState.QUEUED, 0)
    assert runner.invoke(app, ["jobs", "dead", "--json"]).stdout == ""


def test_a_job_whose_model_left_the_catalogue_is_retried_all_the_same(
    redis_client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNERDIFF_REDIS_URL", redis_url)
    job_id = dead_job(Ledger(redis_client, LedgerConfig(max_attempts=1)))
    redis_client.delete("synerdiff:catalogue")
    again = CliRunner().invoke(app, ["jobs", "retry", job_id])
    assert (again.exit_code, again.stdout) == (0, f"{job_id} queued\n"), again.output


def test_dead_jobs_are_looked_for_among_so_many(redis_client: redis.Redis) -> None:
    ledger = Ledger(redis_client, LedgerConfig(max_attempts=1))
    ids = [dead_job(ledger) for _ in range(3)]
    assert [view.id for view in ledger.list_jobs(state=JobState.DEAD, among=2)] == ids[:0:-1]


@pytest.mark.parametrize("tick_s", [1.0, 2.0])
def test_the_defaults_bring_a_dead_workers_jobs_back_within_15_s(tick_s: float) -> None:
    """The longest way back: the lease and the registration lapse, and the reaper comes round a tick later."""
    settings = Settings(tick_s=tick_s)
    gap_s = LedgerConfig.of(settings).reap_gap_s
    assert max(settings.lease_s, settings.worker_ttl_s) + 2 * settings.tick_s < 15
    renewal_s = settings.lease_s / RENEWALS
    assert settings.lease_s - renewal_s - gap_s > 1.5 * renewal_s, "a renewal must have a second try after a pause"
    assert settings.worker_ttl_s - BEAT_S - gap_s > 1.5 * BEAT_S
