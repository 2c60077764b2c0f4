"""Exit 0 when the service of this container answers ``HEALTH_URL``, 1 when it does not."""

import os
import sys
import urllib.request

try:
    with urllib.request.urlopen(os.environ["HEALTH_URL"], timeout=5) as answer:  # noqa: S310 - set by the image
        sys.exit(0 if answer.status == 200 else 1)
except OSError as error:
    sys.exit(f"{os.environ['HEALTH_URL']}: {error}")
