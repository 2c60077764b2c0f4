"""Run an older commit of this repository beside the present one, on one Redis and one S3, as an upgrade does.

python -m tools.upgrade_check --from REV [--fixtures DIR] [--keep DIR] [--cache DIR] [--only mixes,watchers,handover]

``git archive REV`` goes into a temporary directory; its packages run with this interpreter, first on ``PYTHONPATH``.
Then, with real services (embedded Redis and S3, the shipped model on the CPU), every mix of older and present scheduler
and worker serves jobs of the older and of the present client; both clients read every result and check its images. The
gateways and Flowers of both run over the workers of each (``tools.upgrade_watchers``). At last each worker is told to
leave in the middle of a job that the other finishes. A line a check; it ends with 1 if one failed. ``--fixtures`` keeps
what the older code wrote (tests/data).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import redis

from synerdiff.cli.children import Child
from synerdiff.cli.embedded import EmbeddedRedis, EmbeddedS3
from tools.upgrade_watchers import watched

ROOT = Path(__file__).parents[1]
PORTIONS = ("core", "scheduler", "workers", "api")
START_S, JOB_S = 240.0, 240.0
MODEL = "tiny-emoji"
LONG = 140
PARTS = ("mixes", "watchers", "handover")
PRESENT = {"SYNERDIFF_CHECKPOINT_S": "0.5"}  # settings that older code may refuse

SUBMIT = """
import sys
from synerdiff.client import Client
with Client() as client:
    print(client.submit("a red apple", steps=int(sys.argv[1]), n=int(sys.argv[2]), seed=7, metadata={"by": "check"}))
"""
READ = """
import json, sys, tempfile
from synerdiff.client import Client
with Client() as client, tempfile.TemporaryDirectory() as folder:
    view = client.wait(sys.argv[1], timeout_s=240)
    files = client.download(sys.argv[1], folder)  # each is checked against the sha256 in the record
    kinds = [event.kind for event in client.events(sys.argv[1], timeout_s=30)]
    assert kinds[-1] == "succeeded", kinds
    print(json.dumps({"state": view.state.value, "images": len(files), "worker": view.receipt.worker}))
"""
WHERE = "import synerdiff.ledger; print(synerdiff.ledger.__file__)"


@dataclass(slots=True)
class Version:
    """One tree of the repository, and how its code is run."""

    name: str
    tree: Path
    environment: dict[str, str]

    @property
    def env(self) -> dict[str, str]:
        """The environment in which this tree's packages are found first."""
        return {**self.environment, "PYTHONPATH": os.pathsep.join(str(self.tree / portion) for portion in PORTIONS)}

    def run(self, code: str, *arguments: object) -> str:
        """What a piece of Python says, run against this tree; raises with its last words."""
        command = [sys.executable, "-c", code, *map(str, arguments)]
        env = {**os.environ, **self.env}
        done = subprocess.run(command, env=env, cwd=self.tree, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr.strip().splitlines()[-1]}")
        return done.stdout.strip()


@dataclass(slots=True)
class Check:
    """The servers, the two versions, and what was found."""

    redis_url: str
    directory: Path
    old: Version
    new: Version
    failed: list[str] = field(default_factory=list)

    def say(self, what: str, action: Callable[[], str]) -> None:
        """Do one check and print a line."""
        try:
            found, mark = action(), "ok  "
        except Exception as error:
            found, mark = f"{type(error).__name__}: {error}", "FAIL"
            self.failed.append(what)
        print(f"{mark} {what}: {found}", flush=True)

    @contextmanager
    def service(self, version: Version, name: str, settings: Mapping[str, str] | None = None) -> Iterator[Child]:
        """A service of a version's command, stopped in good order at the end."""
        log = self.directory / f"{version.name}-{name}-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "synerdiff.cli", name]
        child = Child(name, command, log=log, env={**version.env, **(settings or {})}, directory=version.tree)
        try:
            yield child
        finally:
            child.stop()

    @property
    def client(self) -> Any:  # redis-py's annotations allow bytes even where replies are decoded
        """Redis, to look at; replies are text."""
        return redis.Redis.from_url(self.redis_url, decode_responses=True)

    def reports(self) -> list[dict[str, str]]:
        """The live workers' reports."""
        client = self.client
        names = client.zrange(f"synerdiff:workers:{MODEL}", 0, -1)
        return [report for name in names if (report := client.hgetall(f"synerdiff:worker:{name}"))]

    def wait(self, ready: Callable[[], bool], child: Child, what: str) -> None:
        """Wait until a service is ready; raises with its log's end."""
        deadline = time.monotonic() + START_S
        while not ready():
            if time.monotonic() > deadline or not child.alive:
                raise RuntimeError(f"no {what}: {child.tail(3)}")
            time.sleep(0.25)

    def registered(self, worker: Child) -> None:
        """Wait until a worker takes jobs."""
        self.wait(lambda: any(report["pid"] == str(worker.pid) for report in self.reports()), worker, "worker")

    def planned(self, scheduler: Child) -> str:
        """Wait until the worker follows a plan that was written since; which."""
        client = self.client

        def followed() -> bool:
            reports = self.reports()
            heads = [client.hgetall(f"synerdiff:plan:{MODEL}:{report['profile_id']}") for report in reports]
            fresh = all(head and float(head.get("made_at") or 0) > began for head in heads)
            same = all(
                report["plan_version"] == head.get("version") != "0"
                for report, head in zip(reports, heads, strict=True)
            )
            return bool(reports) and fresh and same

        seconds, micros = client.time()
        began = seconds + micros / 1e6
        self.wait(followed, scheduler, "plan that the worker follows")
        report = self.reports()[0]
        return f"plan {report['plan_version']} followed ({report.get('plan_source', 'source not told')})"


def served(check: Check, submitter: Version) -> str:
    """A job of one client, read by both."""
    job_id = submitter.run(SUBMIT, 8, 2)
    found = [json.loads(reader.run(READ, job_id)) for reader in (check.old, check.new)]
    if any(view != {"state": "succeeded", "images": 2, "worker": found[0]["worker"]} for view in found):
        raise RuntimeError(f"read as {found}")
    return "2 images, read and checked by both clients"


def mixes(check: Check, worker_of: Version) -> None:
    """A worker of one version, under schedulers of both, with jobs of both clients."""
    with check.service(worker_of, "worker") as worker:
        check.say(f"{worker_of.name} worker", lambda: _started(check, worker))
        for scheduler_of in (check.old, check.new):
            with check.service(scheduler_of, "scheduler") as scheduler:
                mix = f"{scheduler_of.name} scheduler, {worker_of.name} worker"
                check.say(mix, partial(check.planned, scheduler))
                for client in (check.old, check.new):
                    check.say(f"{mix}, {client.name} client", partial(served, check, client))


def _started(check: Check, worker: Child) -> str:
    check.registered(worker)
    return "takes jobs"


def handed_over(check: Check, first: Version, second: Version) -> str:
    """A job in whose middle one version's worker leaves, and the other's goes on with it."""
    with check.service(check.new, "scheduler"):
        with check.service(first, "worker") as worker:
            check.registered(worker)
            job_id = first.run(SUBMIT, LONG, 4)
            key = f"synerdiff:job:{job_id}"
            check.wait(lambda: int(check.client.hget(key, "step") or 0) >= 2, worker, "step of the long job")
            os.kill(worker.pid, signal.SIGTERM)
            deadline = time.monotonic() + START_S
            while worker.alive and time.monotonic() < deadline:
                time.sleep(0.2)
        record = check.client.hgetall(key)
        if record["state"] != "queued":
            raise RuntimeError(f"the job is {record['state']}, not queued, after its worker left")
        with check.service(second, "worker") as worker:
            check.registered(worker)
            found = [json.loads(reader.run(READ, job_id)) for reader in (check.old, check.new)]
    if any(view["state"] != "succeeded" or view["images"] != 4 for view in found):
        raise RuntimeError(f"read as {found}")
    return f"left with {record.get('kept') or 0} steps kept, finished by the other"


def unpack(revision: str, directory: Path) -> str:
    """Put a commit's tree below ``directory``; the commit's short name."""
    name = subprocess.run(
        ["git", "rev-parse", "--short", f"{revision}^{{commit}}"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    packed = subprocess.run(["git", "archive", name], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(directory, filter="data")
    return name


def keep_fixtures(check: Check, commit: str, directory: Path) -> str:
    """Write what the older code left in Redis: a record, a plan with its table, the profile, a worker's report."""
    with check.service(check.old, "scheduler") as scheduler, check.service(check.old, "worker") as worker:
        check.registered(worker)
        check.planned(scheduler)
        job_id = check.old.run(SUBMIT, 8, 2)
        check.old.run(READ, job_id)
        client, report = check.client, check.reports()[0]
        plan = client.hgetall(f"synerdiff:plan:{MODEL}:{report['profile_id']}")
        found = {
            "commit": commit,
            "record": client.hgetall(f"synerdiff:job:{job_id}"),
            "events": client.xrange(f"synerdiff:events:{job_id}"),
            "plan": plan,
            "table": client.get(f"synerdiff:table:{plan.get('table_hash', '')}"),
            "profile": client.get(f"synerdiff:profile:{report['profile_id']}"),
            "worker": {**report, "host": "host", "pid": "1"},
            "model": client.hget("synerdiff:catalogue", MODEL),
        }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"written_by_{commit}.json"
    text = json.dumps(found, indent=1, sort_keys=True).replace(report["host"], "host")  # worker names begin with it
    path.write_text(text + "\n")
    return str(path)


def environment(redis_url: str, s3: EmbeddedS3, cache: Path) -> dict[str, str]:
    """What every service and client of the check shares."""
    access = s3.access
    return {
        "SYNERDIFF_REDIS_URL": redis_url,
        "SYNERDIFF_S3_ENDPOINT": access.endpoint,
        "SYNERDIFF_S3_BUCKET": access.bucket,
        "SYNERDIFF_S3_ACCESS_KEY": access.access_key,
        "SYNERDIFF_S3_SECRET_KEY": access.secret_key,
        "SYNERDIFF_MODEL": MODEL,
        "SYNERDIFF_DEVICE": "cpu",
        "SYNERDIFF_THREADS": "1",
        "SYNERDIFF_GRACE_S": "1",
        "SYNERDIFF_CACHE_DIR": str(cache),
        "OMP_WAIT_POLICY": "passive",
    }


def run(check: Check, parts: Sequence[str]) -> None:
    """Run the parts of the check."""
    for worker_of in (check.new, check.old):
        if "mixes" in parts:
            mixes(check, worker_of)
        if "watchers" in parts:
            watched(check, worker_of)
    for first, second in ((check.old, check.new), (check.new, check.old)) if "handover" in parts else ():
        what = f"{first.name} worker leaves in mid-job, {second.name} worker goes on"
        check.say(what, partial(handed_over, check, first, second))


def main() -> int:
    """Run every check; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="revision", required=True, help="the older commit")
    parser.add_argument("--fixtures", type=Path, help="directory in which to keep what the older code wrote")
    parser.add_argument("--keep", type=Path, help="directory for logs, kept")
    parser.add_argument("--cache", type=Path, help="where workers find profiles; else each starts with a quick one")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"--only must name parts among {', '.join(PARTS)}; got {unknown[0]!r}")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        logs = options.keep or base / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        commit = unpack(options.revision, base / "old")
        server = EmbeddedRedis(base / "redis")
        server.start()
        s3 = EmbeddedS3(base / "s3", ("check", "check-secret"), bucket="images").start()
        try:
            shared = environment(server.url, s3, options.cache or base / "cache")
            old, new = Version("older", base / "old", shared), Version("present", ROOT, {**shared, **PRESENT})
            check = Check(server.url, logs, old, new)
            print(f"older: {commit}, {old.run(WHERE)}; present: {new.run(WHERE)}", flush=True)
            if options.fixtures:
                check.say("fixtures", lambda: keep_fixtures(check, commit, options.fixtures))
            run(check, parts)
        finally:
            s3.stop()
            server.stop()
    print(f"{len(check.failed)} failed" if check.failed else "everything held", flush=True)
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
