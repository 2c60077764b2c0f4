"""VAE chunking: a decode as a list of resumable chunks.

``granularity.py`` says how a decode is cut, ``chunked.py`` runs the pieces. Below them, ``operations.py`` walks a
decoder into operations, and ``resnet.py``, ``attention.py``, ``upsample.py`` and ``norm.py`` know how each of them
runs as a whole (bitwise as diffusers runs it) and in row strips (within 1e-5).
"""

from .chunked import ChunkedDecode, decode_chunks
from .granularity import GRANULARITIES, Chunk, DecodePlan, Granularity, decode_plan, granularities
from .image import decode_in_float32, to_image

__all__ = [
    "GRANULARITIES",
    "Chunk",
    "ChunkedDecode",
    "DecodePlan",
    "Granularity",
    "decode_chunks",
    "decode_in_float32",
    "decode_plan",
    "granularities",
    "to_image",
]
