"""Text encoding: a prompt becomes the embeddings that the UNet attends to, and repeated prompts cost nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from synerdiff.engine.lean_text import LeanText
from synerdiff.engine.model import LoadedModel
from synerdiff.protocol.errors import FieldError, InvalidJob


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One encoded text: ``context`` is ``[tokens, width]``, ``pooled`` ``[width]`` for SDXL and None elsewhere."""

    context: Tensor
    pooled: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What one job's rows are conditioned on; ``negative`` is None where the job has one row a sample."""

    positive: Embedding
    negative: Embedding | None


class TextEncoder:
    """Encodes prompts with a model's own encoders and keeps the last ``cache_size`` of them.

    Texts are encoded one at a time, as the pipeline does for one image, so that an embedding does not depend
    on what else was asked for.
    """

    def __init__(
        self, model: LoadedModel, *, cache_size: int = 256, chunk_long: bool = False, weighted: bool = False
    ) -> None:
        self._model = model
        self._cache: OrderedDict[tuple[str, int], Embedding] = OrderedDict()
        self._cache_size = cache_size
        self._lean = LeanText(model.text_encoders[0])
        self._chunk_long = chunk_long
        self._weigh = _weighting(model, cache_size) if weighted else None
        self._counted = lru_cache(maxsize=2 * cache_size)(self._token_counts)

    def chunk_count(self, prompt: str, negative_prompt: str, *, guided: bool) -> int:
        """How many times the encoder's length a job's texts take: 1 unless long prompts are chunked.

        Raises :class:`InvalidJob` for a text that is too long and may not be chunked.
        """
        chunks = self._chunks(prompt, "prompt")
        return max(chunks, self._chunks(negative_prompt, "negative_prompt")) if guided else chunks

    def encode(self, prompt: str, negative_prompt: str, *, guided: bool) -> Conditioning:
        """Encode a job's texts, both to the same length. Raises as :meth:`chunk_count` does."""
        chunks = self.chunk_count(prompt, negative_prompt, guided=guided)
        positive = self._cached(prompt, chunks)
        return Conditioning(positive, self._negative(negative_prompt, positive, chunks) if guided else None)

    def _negative(self, text: str, positive: Embedding, chunks: int) -> Embedding:
        if text or not self._model.zero_empty_negative:
            return self._cached(text, chunks)
        pooled = None if positive.pooled is None else torch.zeros_like(positive.pooled)
        return Embedding(torch.zeros_like(positive.context), pooled)

    def _cached(self, text: str, chunks: int) -> Embedding:
        key = (text, chunks)
        if key not in self._cache:
            self._cache[key] = self._encode(text, chunks)
            if len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def _chunks(self, text: str, field: str) -> int:
        """How many times the encoder's length the text takes."""
        if self._weigh is not None:
            return self._weighted_chunks(text, field)
        needed = 1
        for tokenizer, count in zip(self._model.tokenizers, self._counted(text), strict=True):
            room = tokenizer.model_max_length - 2
            if count > room and not self._chunk_long:
                message = f"{field} must be at most {room} tokens long for this model; got {count}"
                raise InvalidJob([FieldError(field=field, message=message)])
            needed = max(needed, -(-count // room))
        return needed

    def _token_counts(self, text: str) -> tuple[int, ...]:
        """Tokens of a text, for each tokenizer."""
        tokenizers = self._model.tokenizers
        return tuple(
            len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids) for tokenizer in tokenizers
        )

    def _weighted_chunks(self, text: str, field: str) -> int:
        """As :meth:`_chunks`, for a text whose weights are parsed: it is encoded to find out."""
        assert self._weigh is not None
        context, _ = self._weigh(text, field)
        length: int = self._model.tokenizers[0].model_max_length
        needed = int(context.shape[0]) // length
        if needed > 1 and not self._chunk_long:
            message = f"{field} must be at most {length - 2} tokens long for this model; it takes {needed} times that"
            raise InvalidJob([FieldError(field=field, message=message)])
        return needed

    def _encode(self, text: str, chunks: int) -> Embedding:
        if self._weigh is not None:
            context, pooled = self._weigh(text, "prompt")
            missing = chunks - int(context.shape[0]) // self._model.tokenizers[0].model_max_length
            empty = [self._weigh("", "prompt")[0]] * missing
            return Embedding(torch.cat([context, *empty]).to(self._model.dtype), pooled)
        ids = [_token_ids(tokenizer, text, chunks) for tokenizer in self._model.tokenizers]
        parts = [self._encode_chunk([encoder_ids[i] for encoder_ids in ids]) for i in range(chunks)]
        return Embedding(torch.cat([part.context for part in parts]), parts[0].pooled)

    def _encode_chunk(self, ids: list[Tensor]) -> Embedding:
        """Encode one chunk with every encoder; ``ids`` holds ``[1, tokens]`` for each."""
        model = self._model
        if len(model.text_encoders) == 1:
            return Embedding(self._lean(ids[0].to(model.device))[0].to(model.dtype), None)
        contexts, pooled = [], None
        for encoder, chunk in zip(model.text_encoders, ids, strict=True):
            output = encoder(chunk.to(model.device), output_hidden_states=True)
            contexts.append(output.hidden_states[-2][0])
            if output[0].ndim == 2:
                pooled = output[0][0]
        return Embedding(torch.cat(contexts, dim=-1).to(model.dtype), pooled)


Weigh = Callable[[str, str], tuple[Tensor, Tensor | None]]


def _weighting(model: LoadedModel, cache_size: int) -> Weigh:
    from synerdiff.engine.weighting import Weighting  # here, since few engines need Compel

    return lru_cache(maxsize=cache_size)(Weighting(model).encode)


def _token_ids(tokenizer: Any, text: str, chunks: int) -> list[Tensor]:
    """Token ids in ``chunks`` pieces of the encoder's length, each with its own start, end and padding."""
    length = tokenizer.model_max_length
    if chunks == 1:
        padded = tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return [padded.input_ids]
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    pieces = []
    for start in range(0, chunks * (length - 2), length - 2):
        body = [tokenizer.bos_token_id, *ids[start : start + length - 2], tokenizer.eos_token_id]
        pieces.append(torch.tensor([body + [tokenizer.pad_token_id] * (length - len(body))]))
    return pieces
