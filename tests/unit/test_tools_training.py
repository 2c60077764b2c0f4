"""The shipped model's training: schedule, optimiser, shared weights, checkpoints, tokenizer and export."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synerdiff.engine.model import load_model, shipped_path
from tools.tiny_emoji.background import on_signals, set_paused, wait_while_paused
from tools.tiny_emoji.scenes.scene import Scene, Thing
from tools.tiny_emoji.training.adopt import adopt_checkpoint, adopt_model
from tools.tiny_emoji.training.checkpoint import SharedState, restore, save
from tools.tiny_emoji.training.flat import Layout
from tools.tiny_emoji.training.latents import read_latents
from tools.tiny_emoji.training.muon import Muon, Rates, is_matrix, orthogonalised
from tools.tiny_emoji.training.networks import load_tokenizer, make_vae
from tools.tiny_emoji.training.run import begin
from tools.tiny_emoji.training.schedule import Schedule
from tools.tiny_emoji.training.task import Recipe, Share, share
from tools.tiny_emoji.training.tokenizer import write_tokenizer
from tools.tiny_emoji.training.trainer import Shared, Trainer, averaged
from tools.tiny_emoji.training.unet_task import Stream, UnetTask, stratified
from tools.tiny_emoji.training.vae_task import VaeTask
from tools.tiny_emoji.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Line:
    """Fit a matrix: a task small enough for a unit test."""

    out: Path

    def modules(self) -> dict[str, nn.Module]:
        torch.manual_seed(0)
        return {"line": nn.Linear(8, 8)}

    def work(self, modules: Mapping[str, nn.Module]) -> LineWork:
        return LineWork(modules["line"])

    def batch(self, progress: float) -> int:
        return 4

    def extras(self) -> dict[str, Any]:
        return {"scale": 0.5}

    def export(self, modules: Mapping[str, nn.Module], seen: int, last: bool) -> None:
        (self.out / f"{seen}{'-last' if last else ''}").touch()


class LineWork:
    def __init__(self, line: nn.Module) -> None:
        self._line = line

    def loss(self, share: Share) -> Tensor:
        inputs = torch.randn(share.count, 8, generator=share.noise)
        error: Tensor = (self._line(inputs) - inputs.flip(1)).square().mean()
        return error


def recipe(folder: Path, samples: int = 40) -> Recipe:
    return Recipe(
        samples=samples,
        rates=Rates(0.05),
        warm=8,
        decay=0.5,
        floor=0.1,
        average=0.9,
        checkpoint=folder / "line.ckpt.pt",
        pause=folder / "PAUSE",
        processes=1,
        export_every=20,
    )


def trainer(folder: Path, plan: Recipe, stop_after: int | None = None) -> tuple[Trainer, SharedState]:
    """A run in this very process; ``stop_after`` steps it is asked to stop."""
    task = Line(folder)
    state, schedule = begin(task, plan)
    stopping = threading.Event()
    shared = Shared(
        state,
        torch.zeros(1, len(state.weights)),
        torch.zeros(1),
        torch.zeros(1),
        torch.zeros(1, dtype=torch.int64),
        threading.Barrier(1),  # type: ignore[arg-type]
        stopping,  # type: ignore[arg-type]
    )
    one = Trainer(0, task, plan, schedule, shared)
    if stop_after is not None:
        take = one._take_step

        def counted() -> None:
            take()
            if state.step + 1 >= stop_after:
                stopping.set()

        one._take_step = counted  # type: ignore[method-assign]
    return one, state


def test_rate_depends_on_samples_alone() -> None:
    schedule = Schedule(start=1000, end=2000, warm=100, decay=0.5, floor=0.1)
    assert schedule.factor(1000) == pytest.approx(0.01)
    assert schedule.factor(1100) == schedule.factor(1500) == 1.0
    assert schedule.factor(1750) == pytest.approx(0.5)
    assert schedule.factor(2000) == pytest.approx(0.1)
    assert schedule.progress(500) == 0.0
    assert schedule.progress(3000) == 1.0


def test_randomness_depends_on_seed_step_and_rank() -> None:
    draws = [share(0, step, rank, 0, 4, 0.0) for step, rank in ((1, 0), (1, 0), (2, 0), (1, 1))]
    values = [float(torch.rand(1, generator=draw.noise)) for draw in draws]
    assert values[0] == values[1]
    assert len(set(values)) == 3


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((2, 8, 20), (2, 20, 8)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        assert 0.5 < float(values.min()) <= float(values.max()) < 1.5


def test_muon_takes_matrices_and_adam_the_rest() -> None:
    assert is_matrix("unet.mid.conv1.weight", torch.zeros(8, 8, 3, 3))
    assert not is_matrix("unet.conv_in.weight", torch.zeros(8, 8, 3, 3))
    assert not is_matrix("text.token_embedding.weight", torch.zeros(100, 8))
    assert not is_matrix("unet.norm.weight", torch.zeros(8))
    weights = {"matrix": torch.ones(8, 8), "bias": torch.ones(8)}
    first, second = ({name: torch.zeros_like(weight) for name, weight in weights.items()} for _ in range(2))
    before = {name: weight.clone() for name, weight in weights.items()}
    Muon(weights, first, second, Rates(0.1)).step({name: torch.randn(w.shape) for name, w in weights.items()}, 1.0, 1)
    assert all(not torch.equal(weights[name], before[name]) for name in weights)
    assert not second["matrix"].any()


def test_owners_share_the_weights() -> None:
    layout = Layout({"a": torch.Size([100]), "b": torch.Size([60]), "c": torch.Size([50])})
    shares = layout.shares(2)
    assert sorted(name for names in shares for name in names) == ["a", "b", "c"]
    assert shares == [["a"], ["b", "c"]]
    views = layout.views(torch.arange(210.0))
    assert views["b"].tolist() == list(range(100, 160))


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    through, parted = tmp_path / "through", tmp_path / "parted"
    through.mkdir()
    parted.mkdir()
    whole, expected = trainer(through, recipe(through))
    whole.run()
    first, state = trainer(parted, recipe(parted), stop_after=4)
    first.run()
    assert 0 < state.seen < 40
    second, state = trainer(parted, recipe(parted))
    second.run()
    assert state.seen == expected.seen == 40
    assert torch.equal(state.weights, expected.weights)
    assert torch.equal(state.average, expected.average)
    assert sorted(path.name for path in through.iterdir()) == ["20", "40-last", "line.ckpt.pt"]


def test_training_learns(tmp_path: Path) -> None:
    one, state = trainer(tmp_path, recipe(tmp_path, samples=1200))
    modules = Line(tmp_path).modules()
    probe = share(9, 0, 0, 0, 64, 0.0)
    before = float(LineWork(modules["line"]).loss(probe).detach())
    one.run()
    after = averaged(Line(tmp_path), Layout.of(modules), state)["line"]
    assert float(LineWork(after).loss(share(9, 0, 0, 0, 64, 0.0)).detach()) < before / 2


def test_older_checkpoints_begin_a_leg_where_they_end(tmp_path: Path) -> None:
    one, _ = trainer(tmp_path, recipe(tmp_path))
    one.run()
    path = tmp_path / "line.ckpt.pt"
    content = torch.load(path, weights_only=True)
    assert set(content) == {"line", "ema", "opt", "step", "seen", "schedule", "scale"}
    del content["schedule"]
    torch.save(content, path)
    state, schedule = begin(Line(tmp_path), recipe(tmp_path, samples=100))
    assert (state.seen, schedule.start, schedule.end) == (40, 40, 100)


def test_a_checkpoint_of_other_weights_is_refused(tmp_path: Path) -> None:
    layout = Layout({"line.weight": torch.Size([2])})
    save(tmp_path / "one.pt", layout, SharedState.zeros(2), Schedule(0, 1, 1), {})
    other = Layout({"line.weight": torch.Size([2]), "line.bias": torch.Size([1])})
    with pytest.raises(ValueError, match=r"lacks 1 of 2 weights, first of them line\.bias"):
        restore(tmp_path / "one.pt", other, SharedState.zeros(3))


def test_pausing_waits_and_a_stop_ends_the_wait(tmp_path: Path) -> None:
    file = tmp_path / "PAUSE"
    wait_while_paused(file)
    set_paused(file, True)
    wait_while_paused(file, lambda: True)
    set_paused(file, False)
    assert not file.exists()


def test_sigusr1_pauses_and_goes_on(tmp_path: Path) -> None:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    stopped: list[bool] = []
    try:
        on_signals(lambda: stopped.append(True), tmp_path / "PAUSE")
        os.kill(os.getpid(), signal.SIGUSR1)
        assert (tmp_path / "PAUSE").exists()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert not (tmp_path / "PAUSE").exists()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped == [True]
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_every_epoch_sees_every_latent_once() -> None:
    stream = Stream(10, seed=0)
    epochs = [stream.take(0, 10), stream.take(10, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert Stream(10, seed=0).take(7, 6) == epochs[0][7:] + epochs[1][:3]


def test_timesteps_cover_the_range() -> None:
    times = stratified(10, torch.Generator().manual_seed(0))
    assert [int(time) // 100 for time in times] == list(range(10))


def test_latents_made_earlier_lose_what_is_held_out(tmp_path: Path) -> None:
    scenes = [
        Scene("flat", "blue", (Thing("star"),)),
        Scene("flat", "blue", (Thing("saxophone"),)),
        Scene("flat", "blue", (Thing("tent", "green"),)),
    ]
    content = {"z": torch.zeros(3, 4, 16, 16).half(), "attrs": [scene.as_dict() for scene in scenes], "std": 2.0}
    torch.save(content, tmp_path / "some.pt")
    latents = read_latents([tmp_path / "some.pt"], {"star", "tent"})
    assert latents.scenes == (scenes[0],)
    assert latents.deviation == 2.0
    with pytest.raises(ValueError, match="no latents to train on"):
        read_latents([], {"star"})


def test_tokenizer_keeps_every_word(tmp_path: Path) -> None:
    said = ["a red apple on a blue background", "an owl in the snow"]
    write_tokenizer(tmp_path, vocabulary=600, captions=said * 10)
    tokenizer = load_tokenizer(tmp_path)
    for caption in [*said, "a Blue apple, an unheard-of griffin!"]:
        tokens = tokenizer(caption).input_ids
        kept = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert kept.replace(" ", "") == caption.lower().replace(" ", "")
    assert tokenizer.model_max_length == 77
    assert len(tokenizer("apple").input_ids) == 3


def test_a_fresh_vae_nearly_averages_and_repeats() -> None:
    vae = make_vae(0)
    image = torch.full((1, 3, 64, 64), 0.4)
    with torch.no_grad():
        decoded = vae.decode(vae.encode(image).latent_dist.mean).sample
    assert float((decoded - image).abs().mean()) < 0.35


def test_refining_a_decoder_leaves_the_encoder_alone(tmp_path: Path) -> None:
    make_vae(0).save_pretrained(tmp_path / "vae")
    task = VaeTask(tmp_path / "refined", base=tmp_path / "vae")
    names = set(Layout.of(task.modules()).shapes)
    assert names
    assert all(name.startswith(("vae.decoder.", "vae.post_quant_conv.")) for name in names)
    assert task.batch(0.0) == 4
    assert VaeTask(tmp_path).batch(0.0) == 8


def test_an_adopted_model_exports_and_loads(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    adopt_model(shipped_path(), space)
    adopt_checkpoint(shipped_path(), space)
    task = UnetTask(space, (), float(torch.load(space.checkpoint("unet"), weights_only=True)["scale"]))
    layout = Layout.of(task.modules())
    state = SharedState.zeros(layout.size)
    restore(space.checkpoint("unet"), layout, state)
    task.export(averaged(task, layout, state), 0, last=True)
    model, shipped = load_model(space.model, device="cpu"), load_model(None, device="cpu")
    for part in ("unet", "vae"):
        expected = getattr(shipped, part).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in getattr(model, part).state_dict().items())
    size = sum(path.stat().st_size for path in space.model.rglob("*") if path.is_file())
    assert size <= 14 * 2**20
    text = "".join(path.read_text(encoding="utf-8") for path in space.model.rglob("*.json"))
    assert str(tmp_path) not in text


def test_paths_do_not_hang_together_by_chance(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    assert space.final_vae == space.vae
    space.refined_vae.mkdir()
    assert space.final_vae == space.refined_vae
    assert space.latent_files() == []
    assert replace(recipe(tmp_path), samples=1).samples == 1
    assert np.isclose(Schedule(0, 10, 0).factor(0), 1.0)
