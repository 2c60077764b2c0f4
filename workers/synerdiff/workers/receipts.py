"""From what the engine says of each image to the receipt and timings of the job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synerdiff.engine.types import ImageReady, ImageTimings
from synerdiff.protocol import Job, Receipt, Timings

PIXEL_FIELDS = (
    "model",
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "steps",
    "guidance_scale",
    "sampler",
    "seed",
    "n",
    "quality",
)


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes the images: goes into every receipt."""

    worker: str
    model_hash: str
    versions: dict[str, str]
    dtype: str = ""


def image_receipt(job: Job, image: ImageReady, maker: Maker) -> Receipt:
    """The receipt that one image carries: a job of this one image, so that it can be made again by itself."""
    request = {name: getattr(job, name) for name in PIXEL_FIELDS} | {"seed": image.seed, "n": 1}
    made = image.receipt
    return Receipt(
        job_id=job.id,
        model=job.model,
        model_hash=maker.model_hash,
        versions=maker.versions,
        dtype=maker.dtype,
        sampler=job.sampler,
        steps=job.steps,
        rows_run=made.rows_run,
        rows_skipped=made.rows_skipped,
        rows_per_call=made.rows_per_call,
        skipped_steps=[list(made.skipped_steps)],
        chunks=made.chunks,
        text_chunks=made.text_chunks,
        plan_version=made.plan_version,
        worker=maker.worker,
        request=request,
    )


def job_receipt(job: Job, receipts: Sequence[Receipt]) -> Receipt:
    """The job's receipt from those of its images, in their order; adopted ones keep what they say."""
    rows = sum(receipt.rows_run for receipt in receipts)
    weighted = sum(receipt.rows_per_call * receipt.rows_run for receipt in receipts)
    return receipts[-1].model_copy(
        update={
            "rows_run": rows,
            "rows_skipped": sum(receipt.rows_skipped for receipt in receipts),
            "rows_per_call": weighted / rows if rows else 0.0,
            "skipped_steps": [steps for receipt in receipts for steps in receipt.skipped_steps],
            "chunks": sum(receipt.chunks for receipt in receipts),
            "request": {name: getattr(job, name) for name in PIXEL_FIELDS},
        }
    )


def job_timings(queued_s: float, images: Sequence[ImageTimings], uploads_s: Sequence[float], held_s: float) -> Timings:
    """The job's timings in seconds: of each phase its slowest image, since images go through them together."""
    return Timings(
        queued=queued_s,
        encode=max(image.encode for image in images),
        denoise=max(image.denoise for image in images),
        decode_wait=max(image.decode_wait for image in images),
        decode=max(image.decode for image in images),
        upload=max(uploads_s),
        total=queued_s + held_s,
    )
