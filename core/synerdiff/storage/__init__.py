"""Images in an S3-compatible store: keys, encoding with the receipt inside, conditional writes, presigned URLs.

Importing this package is cheap: boto3 and Pillow are imported where they are first used.
"""

from synerdiff.storage.config import StoreConfig
from synerdiff.storage.embedded import Embedded, read_embedded, read_receipt
from synerdiff.storage.encode import encode_image, encode_preview
from synerdiff.storage.keys import content_type, image_key
from synerdiff.storage.store import Store, Stored
from synerdiff.storage.weights import Fetched, fetch_weights

__all__ = [
    "Embedded",
    "Fetched",
    "Store",
    "StoreConfig",
    "Stored",
    "content_type",
    "encode_image",
    "encode_preview",
    "fetch_weights",
    "image_key",
    "read_embedded",
    "read_receipt",
]
