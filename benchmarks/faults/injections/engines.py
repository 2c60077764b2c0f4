"""Faults inside the engine process: hung, crashed, out of memory, poisoned."""

from __future__ import annotations

import signal

from benchmarks.faults.bench import Bench, fault
from synerdiff.protocol import JobState

INNOCENT = 9
ORDER_S = 240.0  # a new engine on a busy machine takes a minute or more
POISON = frozenset({JobState.DEAD})


def _order(bench: Bench, name: str) -> None:
    """Have the next engine that steps bring a fault about, and wait until it did."""
    path = bench.fleet.faults_directory / name
    path.touch()
    if not bench.wait(lambda: not path.exists(), ORDER_S):
        raise AssertionError(f"no engine took the order {name}")
    bench.strike()


@fault("engine hung, its worker alive")
def engine_hung(bench: Bench) -> set[str]:
    """Stop the engine process alone; its worker ends it after the silence it bears (30 s)."""
    part, held = bench.busy_worker()
    engine = part.engine()
    if engine is not None:
        engine.suspend()
        engine.wait(120)
    return held


@fault("engine killed, its worker alive")
def engine_killed(bench: Bench) -> set[str]:
    """Kill the engine process alone."""
    part, held = bench.busy_worker()
    engine = part.engine()
    if engine is not None:
        engine.send_signal(signal.SIGKILL)
    return held


@fault("MemoryError in a step")
def memory_error(bench: Bench) -> None:
    """A step raises MemoryError."""
    _order(bench, "memory-error")


@fault("SystemExit in a step")
def system_exit(bench: Bench) -> None:
    """A step raises SystemExit."""
    _order(bench, "system-exit")


@fault("device out of memory in a batch")
def out_of_memory(bench: Bench) -> None:
    """A UNet call of more than two rows finds no room."""
    _order(bench, "out-of-memory")


@fault("segfault poison in a batch of ten")
def poison(bench: Bench) -> set[str]:
    """Nine innocent jobs and one that kills every engine; it must end dead and they must not."""
    ids = [bench.load.submit() for _ in range(INNOCENT)]
    bad = bench.load.submit(right=POISON, prompt="poison", n=1)
    hit = {job_id for job_id in [*ids, bad] if job_id is not None}
    bench.wait(lambda: bad not in bench.history.open(), 180)
    return hit
