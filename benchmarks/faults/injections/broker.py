"""Faults of the broker and of the way to it."""

from __future__ import annotations

import os
import signal
import time

import psutil

from benchmarks.faults.bench import Bench, fault

DOWN_S = 6.0
PAUSED_S = 20.0
HOLE_S = 15.0
FULL_S = 8.0
LOST_REPLIES_S = 5.0
CLOCK_S = 60.0


@fault("broker restarted, 6 s away")
def broker_restart(bench: Bench) -> None:
    """Shut Valkey down in order, and start it after 6 s."""
    with bench.fleet.redis_left_dead():
        bench.fleet.redis.stop()
        time.sleep(DOWN_S)


@fault("broker killed with -9")
def broker_kill(bench: Bench) -> None:
    """Kill Valkey; the operator starts it again."""
    bench.fleet.redis.kill()
    bench.wait(lambda: bench.ledger.server_time() > 0, 30)


@fault("broker paused 20 s")
def broker_pause(bench: Bench) -> None:
    """Stop Valkey's process and let it go on."""
    pid = bench.fleet.redis.pid
    os.kill(pid, signal.SIGSTOP)
    time.sleep(PAUSED_S)
    os.kill(pid, signal.SIGCONT)


@fault("all clients of the broker killed")
def clients_killed(bench: Bench) -> None:
    """CLIENT KILL of every connection."""
    for kind in ("normal", "pubsub"):
        bench.admin.client_kill_filter(_type=kind, skipme=True)


@fault("black-holed connection between one worker and the broker, 15 s")
def black_hole(bench: Bench) -> set[str]:
    """Bytes of one busy worker vanish in both directions."""
    part, held = bench.busy_worker()
    part.redis.set("hole")
    time.sleep(HOLE_S)
    part.redis.set("pass")
    return held


@fault("replies of the broker lost, 5 s")
def replies_lost(bench: Bench) -> set[str]:
    """What one busy worker asks is done, and the answers vanish."""
    part, held = bench.busy_worker()
    part.redis.set("no_replies")
    time.sleep(LOST_REPLIES_S)
    part.redis.set("pass")
    return held


@fault("broker out of memory, 8 s")
def broker_full(bench: Bench) -> None:
    """maxmemory below what is used."""
    bench.admin.config_set("maxmemory", "1mb")
    time.sleep(FULL_S)
    bench.admin.config_set("maxmemory", "0")


@fault("broker's disk full, 8 s: its append-only file cannot grow")
def broker_disk_full(bench: Bench) -> None:
    """No file of Valkey's may grow past what it has; it sees EFBIG where a full disk gives ENOSPC."""
    process = psutil.Process(bench.fleet.redis.pid)
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (1, hard))
    time.sleep(FULL_S)
    process.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))


@fault("the broker's wall clock moved by 60 s, and back", needs_clock=True)
def clock_moved(bench: Bench) -> None:
    """The clock that leases go by jumps ahead, and back after a while."""
    bench.fleet.redis.move_clock(CLOCK_S)
    time.sleep(8)
    bench.fleet.redis.move_clock(0)
    time.sleep(3)
