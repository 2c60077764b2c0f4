"""Make images with the ``openai`` package, pointed at the gateway.

pip install openai
SYNERDIFF_GATEWAY_URL=http://127.0.0.1:8000 python examples/openai_client.py
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

from openai import OpenAI


def main(directory: str) -> None:
    """Make two images and save them."""
    url = os.environ.get("SYNERDIFF_GATEWAY_URL", "http://127.0.0.1:8000")
    client = OpenAI(base_url=f"{url}/v1", api_key=os.environ.get("SYNERDIFF_API_KEY", "none"))
    reply = client.images.generate(
        prompt="a red apple", n=2, response_format="b64_json", extra_body={"steps": 10, "seed": 7}
    )
    Path(directory).mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(reply.data or []):
        path = Path(directory, f"apple-{index}.png")
        path.write_bytes(base64.b64decode(image.b64_json or ""))
        print(path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "out")
