"""What the fleet costs: its throughput beside the bare engine's, the engine's own overhead, submits, start latency.

Run ``python -m benchmarks.fleet [--json OUT] [--rounds 3] [--jobs 96] [--threads 1]``. The same jobs go through
the engine alone (in this process) and through a whole fleet (Redis, S3, scheduler, one worker; gateway and Flower
beside them), in interleaved rounds, so that what else the machine does hits both. Both engines have the same threads,
capacity, profile and plan (the one that the fleet has at its round's end), so what the plan's batch cap costs or
gains is in both; the rows in a UNet call show whether it was the same in fact. Everything shares the machine's cores:
with ``--threads 1`` the engine leaves the others to the rest of the fleet; with as many threads as cores, whatever the
rest uses is taken from the engine.

Throughput is that at saturation: images a second between the 16th image (the capacity) and the 16th last, in the order
in which they are done. In between every place of the batch is taken, in both. An image is done alone when its pixels
are there, in the fleet when it is stored and its job has succeeded. ``whole run`` counts from the first submit to the
last image, with the batch's filling and emptying: what a burst of that length sees. The account says where the fleet's
CPU seconds and Redis calls went, for each job.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported
