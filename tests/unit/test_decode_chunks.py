"""Chunked decodes give the image of the whole decode, however they are cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from synerdiff.engine.decode import GRANULARITIES, ChunkedDecode, decode_in_float32, decode_plan
from synerdiff.engine.decode.kernels import PackedKernels
from synerdiff.protocol.errors import ModelError
from tests.decoders import make_latents, make_vae, whole_decode

EXACT = ("whole", "coarse", "stages")
VAES: dict[str, dict[str, Any]] = {
    "sd": {},
    "without post_quant_conv": {"use_quant_conv": False, "use_post_quant_conv": False},
    "without attention": {"mid_block_add_attention": False},
    "16 latent channels": {"latent_channels": 16},
    "one group": {"groups": 1},
    "attention in the up blocks": {"up_block_types": ("AttnUpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D")},
}


def run_all(decode: ChunkedDecode) -> torch.Tensor:
    while not decode.done:
        decode.run(1)
    return decode.result()


@pytest.mark.parametrize("kind", VAES)
def test_stage_chunks_are_bitwise_equal_and_strips_within_1e5(kind: str) -> None:
    vae = make_vae(**VAES[kind])
    latents = make_latents(12, 9, channels=vae.config.latent_channels)
    expected = whole_decode(vae, latents)
    for granularity in GRANULARITIES:
        image = run_all(ChunkedDecode(vae, latents, granularity))
        assert image.shape == (3, 48, 36)
        assert image.dtype == torch.float32
        if granularity in EXACT:
            assert torch.equal(image, expected)
        else:
            assert (image - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", VAES)
def test_packed_kernels_are_within_1e5(kind: str) -> None:
    vae = make_vae(**VAES[kind]).to(memory_format=torch.channels_last)
    latents = make_latents(12, 9, channels=vae.config.latent_channels)
    kernels = PackedKernels()
    expected = whole_decode(vae, latents)
    for granularity in EXACT:
        image = run_all(ChunkedDecode(vae, latents, granularity, kernels))
        assert (image - expected).abs().max() <= 1e-5


def test_packed_kernels_follow_a_new_layout_once_they_forget() -> None:
    vae = make_vae().to(memory_format=torch.channels_last)
    latents = make_latents(12, 9)
    kernels = PackedKernels()
    run_all(ChunkedDecode(vae, latents, "whole", kernels))
    with torch.no_grad():
        vae.decoder.conv_in.weight += 0.5
    kernels.forget()
    image = run_all(ChunkedDecode(vae, latents, "whole", kernels))
    assert (image - whole_decode(vae, latents)).abs().max() <= 1e-5


def test_strips_equal_the_whole_in_channels_last() -> None:
    vae = make_vae().to(memory_format=torch.channels_last)
    latents = make_latents(12, 12)
    image = run_all(ChunkedDecode(vae, latents, "strips"))
    assert (image - whole_decode(vae, latents)).abs().max() <= 1e-5


def test_strips_keep_the_precision_when_activations_are_far_from_zero() -> None:
    """Statistics by sums of squares would lose the variance of channels whose mean is large."""
    vae = make_vae()
    with torch.no_grad():
        for block in vae.decoder.up_blocks:
            for resnet in block.resnets:
                resnet.conv1.bias += 30.0
    latents = make_latents(12, 12)
    strips = run_all(ChunkedDecode(vae, latents, "strips"))
    whole = whole_decode(vae, latents)
    exact = whole_decode(vae.double(), latents)
    assert (strips - exact).abs().max() <= 2 * (whole - exact).abs().max()


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_a_decode_resumes_between_others_and_may_run_several_chunks_at_once(granularity: str) -> None:
    vae = make_vae()
    latents = [make_latents(8, 8, seed=seed) for seed in (1, 2)]
    first, second = (ChunkedDecode(vae, each, granularity) for each in latents)
    while not (first.done and second.done):
        first.run(1)
        second.run(3)
    alone = [run_all(ChunkedDecode(vae, each, granularity)) for each in latents]
    assert torch.equal(first.result(), alone[0])
    assert torch.equal(second.result(), alone[1])


def test_run_stops_at_the_last_chunk_and_counts_what_it_ran() -> None:
    decode = ChunkedDecode(make_vae(), make_latents(8, 8), "coarse")
    assert decode.remaining == decode.chunks == 4
    assert decode.run(3) == 3
    assert decode.remaining == 1
    assert 0 < decode.remaining_cost < 1
    assert decode.run(3) == 1
    assert decode.done
    assert decode.run(3) == 0


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_memory_between_chunks_stays_within_the_bound(granularity: str) -> None:
    decode = ChunkedDecode(make_vae(), make_latents(16, 16), granularity)
    while not decode.done:
        assert 0 < decode.held_bytes <= decode.max_held_bytes
        decode.run(1)
    assert decode.held_bytes == decode.result().numel() * 4


def test_the_latents_are_not_changed() -> None:
    latents = make_latents(8, 8)
    before = latents.clone()
    run_all(ChunkedDecode(make_vae(), latents, "strips"))
    assert torch.equal(latents, before)


def test_a_dropped_decode_holds_nothing_and_says_so() -> None:
    decode = ChunkedDecode(make_vae(), make_latents(8, 8), "stages")
    decode.run(2)
    decode.drop()
    assert decode.held_bytes == 0
    with pytest.raises(RuntimeError, match="dropped"):
        decode.run(1)
    with pytest.raises(RuntimeError, match="no image"):
        decode.result()


def test_a_decode_whose_chunk_failed_does_not_go_on() -> None:
    vae = make_vae()
    decode = ChunkedDecode(vae, make_latents(8, 8), "stages")
    vae.decoder.mid_block.attentions[0].to_q = torch.nn.Linear(3, 3)
    with pytest.raises(RuntimeError, match="shapes"):
        decode.run(decode.chunks)
    with pytest.raises(RuntimeError, match="one of its chunks failed"):
        decode.run(1)


def test_bad_latents_and_granularities_are_refused() -> None:
    vae = make_vae()
    with pytest.raises(ValueError, match="one image"):
        ChunkedDecode(vae, torch.zeros(2, 4, 8, 8), "whole")
    with pytest.raises(ValueError, match="finest"):
        ChunkedDecode(vae, torch.zeros(1, 4, 8, 8), "finest")


def test_a_decoder_of_another_kind_is_a_model_error_that_names_the_block() -> None:
    vae = make_vae()
    vae.decoder.up_blocks[1] = torch.nn.Identity()
    with pytest.raises(ModelError, match=r"up\.1 is a Identity"):
        decode_plan(vae, 8, 8, "whole")


def test_bfloat16_strips_are_as_near_to_float32_as_the_whole_decode_is() -> None:
    vae, latents = make_vae(force_upcast=False).to(torch.bfloat16), make_latents(8, 8)
    exact = decode_in_float32(vae, latents)
    whole = (whole_decode(vae, latents) - exact).abs().mean()
    strips = (run_all(ChunkedDecode(vae, latents, "strips")) - exact).abs().mean()
    assert strips <= 1.5 * whole


def test_a_half_precision_vae_decodes_once_more_in_float32_without_changing() -> None:
    vae, latents = make_vae(force_upcast=False).half(), make_latents(8, 8)
    image = decode_in_float32(vae, latents)
    assert vae.dtype == torch.float16
    assert torch.equal(image, whole_decode(vae.float(), latents))
