"""The demo's jobs: what one continuous batch can hold at once."""

from __future__ import annotations

from synerdiff.client import JobFields

# Different prompts, steps, guidance scales (1 is off: one UNet row), samplers, quality classes, counts and sizes.
_JOBS: tuple[JobFields, ...] = (
    {"prompt": "a penguin in the snow", "steps": 25, "guidance_scale": 4, "seed": 1},
    {
        "prompt": "a yellow star on a green background",
        "steps": 20,
        "guidance_scale": 3,
        "sampler": "euler",
        "seed": 2,
    },
    {"prompt": "a red apple on a blue background", "steps": 30, "sampler": "ddim", "quality": "exact", "seed": 3},
    {
        "prompt": "a blue heart on a yellow background",
        "steps": 25,
        "guidance_scale": 3,
        "quality": "fast",
        "n": 2,
        "seed": 4,
    },
    {"prompt": "a pumpkin on a black background", "steps": 25, "guidance_scale": 4, "n": 2, "seed": 5},
    {"prompt": "a happy face", "steps": 18, "guidance_scale": 3, "priority": 9, "n": 2, "seed": 7},
    {"prompt": "a castle at sunset", "steps": 30, "guidance_scale": 5, "quality": "fast", "seed": 8},
    {"prompt": "a pine tree in the snow", "steps": 20, "guidance_scale": 4, "sampler": "euler", "seed": 9},
    {
        "prompt": "a green book on an orange background",
        "steps": 22,
        "guidance_scale": 3.5,
        "format": "webp",
        "seed": 10,
    },
    {"prompt": "a cat on a pink background", "steps": 25, "guidance_scale": 4, "sampler": "ddim", "seed": 11},
    {"prompt": "a red circle on a white background", "steps": 16, "guidance_scale": 1, "seed": 12},
    {"prompt": "a penguin in the snow", "steps": 20, "width": 96, "height": 128, "quality": "exact", "seed": 13},
)


def jobs() -> list[JobFields]:
    """The jobs, each with an id that says its place and its prompt: image files are named after it."""
    numbered = enumerate(_JOBS, start=1)
    return [{**job, "id": f"demo-{number:02d}-{job['prompt'].replace(' ', '-')}"} for number, job in numbered]
