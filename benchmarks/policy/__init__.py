"""The planner and the controller against plain rules, in virtual time: ``python -m benchmarks.policy --json out.json``.

Every figure is simulated from the profiles that ship with the package; the GPU ones are assumptions, and so is all that
follows from them. Loads are shares of the best sustainable rate of ``exact`` images.
"""
