"""Room for every kernel that a continuous batch needs on a CPU.

oneDNN makes a kernel for each layer and number of rows and keeps the last 1,024. A batch whose rows change at every
step needs more than that (some 60 layers times 30 numbers of rows in bfloat16), and would make many anew each time.
"""

from __future__ import annotations

import os

CAPACITY = 8_192
"""Twice what the shipped model fills in bfloat16, which takes no memory that could be measured; a bound all the same,
for many sizes of images on one worker would go on making kernels."""
_NAMES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # oneDNN's own, and that of torch's layer above it


def widen_kernel_cache() -> None:
    """Raise the limit unless the environment has one; counts only before the process has called its first kernel."""
    for name in _NAMES:
        os.environ.setdefault(name, str(CAPACITY))
