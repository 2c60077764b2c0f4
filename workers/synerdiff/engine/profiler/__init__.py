"""The profiler: what this model costs on this device, measured.

``measure.py`` is the whole of it in order; ``setup.py`` finds the threads and memory format, ``sizes.py`` says which
numbers of rows the engine calls, ``workload.py`` makes real UNet calls and decodes, ``contention.py`` runs both beside
each other, ``cache.py`` keeps profiles on disk, ``serving.py`` is what a worker goes by.
"""

from .cache import cache_key, load_cached, profile_path, store
from .device import check_profile, device_label
from .measure import Measuring, measure_profile, profile_of
from .plot import plot_profile
from .serving import Served, keep, measuring_again, serving_profile
from .setup import Setup, apply_setup, setup_of

__all__ = [
    "Measuring",
    "Served",
    "Setup",
    "apply_setup",
    "cache_key",
    "check_profile",
    "device_label",
    "keep",
    "load_cached",
    "measure_profile",
    "measuring_again",
    "plot_profile",
    "profile_of",
    "profile_path",
    "serving_profile",
    "setup_of",
    "store",
]
