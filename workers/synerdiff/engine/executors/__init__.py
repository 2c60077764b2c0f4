"""Executors: how one slot's UNet call and decode chunks run. Same slots, same images; the profile decides which.

``serial`` takes turns, ``threads`` uses two threads, ``streams`` two CUDA streams of different priority.
"""

from .buckets import BucketedUNet, row_bucket, row_buckets
from .choice import EXECUTORS, make_executor
from .outcome import Executor, Outcome, SlotTimes
from .serial import SerialExecutor
from .streams import StreamsExecutor
from .threads import ThreadsExecutor
from .transfers import HostCopies, HostCopy, to_device

__all__ = [
    "EXECUTORS",
    "BucketedUNet",
    "Executor",
    "HostCopies",
    "HostCopy",
    "Outcome",
    "SerialExecutor",
    "SlotTimes",
    "StreamsExecutor",
    "ThreadsExecutor",
    "make_executor",
    "row_bucket",
    "row_buckets",
    "to_device",
]
