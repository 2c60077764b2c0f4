"""What several commands' helps say in the same words."""

POLICIES = """\
Policies: diffusers (the plain pipeline, one job after another), static (the plain pipeline in batches of jobs that \
agree in steps, sampler, guidance and size), continuous (jobs join and leave at every step, decodes block), \
continuous-naive (decodes beside the steps, no plan), synerdiff-exact (planned, nothing skipped), synerdiff (steps \
skip as balanced), synerdiff-fast (as fast)."""

SERVICE = """\
Settings are SYNERDIFF_... variables ([bold]synerdiff doctor --settings[/bold]); a wrong one stops the start with a \
sentence. On one machine, [bold]synerdiff up[/bold] starts all services together."""
