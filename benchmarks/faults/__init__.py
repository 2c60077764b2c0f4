"""The fault bench: the real stack under load, faults injected at random, and a count of what was lost or doubled.

``python -m benchmarks.faults --seed S --minutes M``. One module an idea: ``fleet`` starts the parts and restarts
what dies, as an operator would; ``proxies`` stand between the parts; ``load`` submits; ``history`` remembers what was
accepted and seen; ``injections`` are the faults; ``invariants`` judge the end; ``figures`` and ``report`` say it.
"""
