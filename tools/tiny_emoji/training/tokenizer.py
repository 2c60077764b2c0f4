"""A byte-pair tokenizer in CLIP's format, trained on captions: about 1,550 tokens instead of 49,408."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from tools.tiny_emoji.scenes.art import load_art
from tools.tiny_emoji.scenes.backgrounds import PLACES
from tools.tiny_emoji.scenes.captions import SYNONYMS, caption
from tools.tiny_emoji.scenes.colours import BACKGROUNDS, HUES
from tools.tiny_emoji.scenes.compose import POSITIONS
from tools.tiny_emoji.scenes.scene import Scene, Thing

VOCABULARY = 1600
CAPTIONS = 30_000
_START, _END, _WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_WORD_COPIES = 40


def corpus(count: int, seed: int = 100) -> list[str]:
    """Captions of random scenes, and every noun and synonym often enough to become a token."""
    rng = np.random.default_rng(seed)
    nouns = load_art().nouns
    kinds = [*PLACES, *BACKGROUNDS]
    sizes = (None, "small", "large")

    def choose(options: Any) -> Any:
        return options[rng.integers(len(options))]

    said = []
    for _ in range(count):
        thing = Thing(choose(nouns), choose(list(HUES)), recoloured=True)
        scene = Scene(choose(("flat", "3d")), choose(kinds), (thing,), choose(sizes), choose(POSITIONS))
        said.append(caption(scene, rng))
    return said + [*nouns, *SYNONYMS.values()] * _WORD_COPIES


def _merges(captions: list[str], vocabulary: int) -> list[tuple[str, str]]:
    tokenizer: Any = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 514, end_of_word_suffix=_WORD_END, min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def _vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + _WORD_END for letter in letters), *(a + b for a, b in merges), _START, _END]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def write_tokenizer(folder: Path, *, vocabulary: int = VOCABULARY, captions: list[str] | None = None) -> None:
    """Train and write a ``CLIPTokenizer``; the older files ``vocab.json`` and ``merges.txt`` stand beside it."""
    merges = _merges(captions or corpus(CAPTIONS), vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    names = folder / "vocab.json", folder / "merges.txt"
    names[0].write_text(json.dumps(_vocabulary(merges), ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    names[1].write_text("\n".join(lines) + "\n", encoding="utf-8")
    kind: Any = CLIPTokenizer
    kind(vocab=str(names[0]), merges=str(names[1]), model_max_length=77, pad_token=_END).save_pretrained(folder)
