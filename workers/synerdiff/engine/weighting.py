"""Prompt weights in Compel's syntax (``a red++ fox``, ``(snow)0.7``), parsed and encoded by Compel."""

from __future__ import annotations

from typing import Any

import torch
from compel import Compel, ReturnedEmbeddingsType
from compel.embeddings_provider import SplitLongTextMode
from compel.prompt_parser import CrossAttentionControlledFragment, PromptParser
from pyparsing.exceptions import ParseBaseException
from torch import Tensor

from synerdiff.engine.model import LoadedModel
from synerdiff.protocol.errors import FieldError, InvalidJob


class Weighting:
    """A model's text encoders as Compel drives them; without weights the embeddings are the plain ones."""

    def __init__(self, model: LoadedModel) -> None:
        two = len(model.text_encoders) == 2
        kinds = ReturnedEmbeddingsType
        self._encoders = [
            Compel(
                tokenizer,
                encoder,
                dtype_for_device_getter=lambda _: model.dtype,
                truncate_long_prompts=False,
                returned_embeddings_type=(
                    kinds.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED if two else kinds.LAST_HIDDEN_STATES_NORMALIZED
                ),
                requires_pooled=two and number == 1,
                split_long_text_mode=SplitLongTextMode.BRUTAL,
                device=str(model.device),
            )
            for number, (tokenizer, encoder) in enumerate(zip(model.tokenizers, model.text_encoders, strict=True))
        ]

    def encode(self, text: str, field: str) -> tuple[Tensor, Tensor | None]:
        """Encode one text: its embeddings ``[tokens, width]`` and, for SDXL, the pooled one ``[width]``.

        Raises :class:`InvalidJob` naming ``field`` for syntax that cannot be served.
        """
        try:
            self._refuse_edits(text, field)
            found = [encoder(text) for encoder in self._encoders]
        except (ParseBaseException, PromptParser.ParsingException, ValueError) as error:
            raise _invalid(field, f"cannot be read as a weighted prompt: {error}") from None
        contexts: list[Tensor] = [each[0] if isinstance(each, tuple) else each for each in found]
        pooled = next((each[1][0] for each in found if isinstance(each, tuple)), None)
        return torch.cat([context[0] for context in contexts], dim=-1), pooled

    def _refuse_edits(self, text: str, field: str) -> None:
        conjunction: Any = self._encoders[0].parse_prompt_string(text)
        children = [child for prompt in conjunction.prompts for child in getattr(prompt, "children", ())]
        if any(isinstance(child, CrossAttentionControlledFragment) for child in children):
            raise _invalid(field, "asks for .swap(), which is not served")
        if conjunction.lora_weights:
            raise _invalid(field, "asks for a LoRA, which is not served")


def _invalid(field: str, message: str) -> InvalidJob:
    return InvalidJob([FieldError(field=field, message=f"{field} {message}"[:300])])
