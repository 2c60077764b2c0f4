"""Enqueue two prompts, watch the first, download both.

Run against a fleet (``synerdiff up`` starts one on this machine and prints the settings to export):

    python examples/plain_python.py out
"""

from __future__ import annotations

import sys

from synerdiff.client import Client, JobEnded, Overloaded


def main(directory: str) -> int:
    """Make the images and return the exit code."""
    with Client() as client:
        try:
            first = client.submit(prompt="a red apple", steps=10, seed=7, idempotency_key="example-apple")
            second = client.submit(prompt="a yellow star", steps=10, n=2, format="webp")
        except Overloaded as error:
            print(f"the queue is full; try again in {error.retry_after_s:g} s", file=sys.stderr)
            return 1
        for event in client.events(first, timeout_s=120):
            print(f"{first}: {event.kind} {event.step}/{event.steps}")
        for job_id in (first, second):
            try:
                view = client.wait(job_id, timeout_s=120)
            except JobEnded as error:
                print(error.message, file=sys.stderr)
                return 1
            saved = client.download(job_id, directory)
            seconds = view.timings.total if view.timings else 0.0
            print(f"{job_id}: {seconds:.2f} s, {', '.join(map(str, saved))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "out"))
