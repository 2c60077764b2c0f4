"""All faults; importing this package registers them."""

from benchmarks.faults.injections import broker, engines, hints, producers, schedulers, store, workers

__all__ = ["broker", "engines", "hints", "producers", "schedulers", "store", "workers"]
