"""Text tower of BERT-like encoders, which runs prompts through them.

Such an encoder reads in both directions, so sentences share no start. Those of equal length are encoded together,
without padding.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.backbones.bert import ACTIVATIONS, BertTextModel
from vlprompt.backbones.packing import Places, Sentences, lay_out
from vlprompt.backbones.text import TextTower
from vlprompt.backbones.tokenizer import Tokenizer
from vlprompt.errors import VLPromptError
from vlprompt.prompts import LowRankUpdates, TextPrompts


class BertTextTower(TextTower):
    """BERT-like text encoder with a head that pools and projects.

    It takes context vectors in place of word embeddings at the first layer; positions, token types and the layer norm
    of the embeddings apply to them as to words. Deep prompts, low-rank updates and the padded layout are not supported.

    Args:
        text: encoder and head.
        tokenizer: its tokenizer.
    """

    layouts = ("packed",)

    def __init__(self, text: BertTextModel, tokenizer: Tokenizer) -> None:
        super().__init__(text, tokenizer)
        self._config = text.encoder.config
        self.width = self._config.hidden_size
        self.depth = self._config.num_hidden_layers
        self.embed_dim = text.output_dim
        self.context_length = tokenizer.context_length

    @property
    def token_table(self) -> Tensor:
        """Embeddings (V, d_t) of all V tokens, as loaded."""
        table: Tensor = self.module.encoder.embeddings.word_embeddings.weight
        return table

    def check(self, prompts: TextPrompts | None, updates: LowRankUpdates | None, names: Sequence[str]) -> None:
        """Raise VLPromptError for deep prompts or updates, or if a name is too long beside the prompts."""
        self._refuse(prompts, updates)
        super().check(prompts, updates, names)

    def _refuse(self, prompts: TextPrompts | None, updates: LowRankUpdates | None) -> None:
        if updates is not None:
            raise VLPromptError("a BERT-like text tower does not support low-rank updates; use a CLIP model")
        if prompts is not None and prompts.deep is not None:
            raise VLPromptError(
                "a BERT-like text tower takes prompts at its first layer only; set the depth of the text prompts to 1, "
                "or use a method with shallow prompts, such as coop"
            )

    def _sentences_of(self, tokens: Tensor, slots: Tensor, *, share_slots: bool) -> Sentences:
        lengths = ((tokens != self.tokenizer.pad) | (slots >= 0)).sum(1)
        return lay_out(tokens, slots, torch.zeros_like(lengths), lengths, shared=0)

    def _encoder(
        self, sentences: Sentences, prompts: TextPrompts | None, updates: LowRankUpdates | None, images: int
    ) -> Callable[[int, int], Tensor]:
        self._refuse(prompts, updates)

        def encode(begin: int, end: int) -> Tensor:
            places, runs, _ = sentences.part(begin, end)
            x = self._entering(places, prompts).expand(images, -1, -1)
            for layer in self.module.encoder.encoder.layer:
                x = self._run_layer(layer, x, runs)
            # (P, sum of count * length, d_t) to (P, count, d_t) for each length
            pooled = [
                self.module.head.pool(part.reshape(-1, length, self.width)).unflatten(0, (images, count))
                for part, (count, length) in zip(_split(x, runs), runs, strict=True)
            ]
            features: Tensor = self.module.head.project(torch.cat(pooled, dim=1))
            return features.float()

        return encode

    def _entering(self, places: Places, prompts: TextPrompts | None) -> Tensor:
        """Return the first layer's input (P, L, d_t) at L places; P = B for a context per image, else 1."""
        embeddings = self.module.encoder.embeddings
        x = self._filled(places, prompts)
        x = x + embeddings.position_embeddings.weight[places.positions + self._config.first_position]
        entering: Tensor = embeddings.LayerNorm(x + embeddings.token_type_embeddings.weight[0])
        return entering.reshape(-1, *entering.shape[-2:])

    def _run_layer(self, layer: Any, x: Tensor, runs: list[tuple[int, int]]) -> Tensor:
        """Run a post-norm transformer layer on x (P, L, d_t); each sentence attends to itself."""
        attention, heads = layer.attention, self._config.num_attention_heads
        projections = (attention.self.query, attention.self.key, attention.self.value)
        # For each length: query, key and value, each (P * count, H, length, d_t / H).
        split = [
            [part.reshape(-1, length, heads, self.width // heads).transpose(1, 2) for part, (_, length) in parts]
            for parts in (zip(_split(project(x), runs), runs, strict=True) for project in projections)
        ]
        attended = [
            F.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(x.shape[0], -1, self.width)
            for parts in zip(*split, strict=True)
        ]
        x = attention.output.LayerNorm(x + attention.output.dense(torch.cat(attended, dim=1)))
        hidden = ACTIVATIONS[self._config.hidden_act](layer.intermediate.dense(x))
        out: Tensor = layer.output.LayerNorm(x + layer.output.dense(hidden))
        return out


def _split(x: Tensor, runs: list[tuple[int, int]]) -> tuple[Tensor, ...]:
    """Split x (P, L, d) into the sentences of each run."""
    parts: tuple[Tensor, ...] = x.split([count * length for count, length in runs], dim=1)
    return parts
