"""The profiler: what this model costs on this device, measured.

``measure.py`` is the whole of it in order; ``setup.py`` finds the threads and memory format, ``workload.py`` makes
real UNet calls and decodes, ``contention.py`` runs both beside each other, ``cache.py`` keeps profiles on disk.
"""

from .cache import cache_key, load_cached, profile_path, store
from .device import check_profile, device_label
from .measure import measure_profile, profile_of
from .plot import plot_profile
from .setup import Setup, apply_setup, setup_of

__all__ = [
    "Setup",
    "apply_setup",
    "cache_key",
    "check_profile",
    "device_label",
    "load_cached",
    "measure_profile",
    "plot_profile",
    "profile_of",
    "profile_path",
    "setup_of",
    "store",
]
