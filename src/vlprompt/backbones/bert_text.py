"""BERT-like text encoders (BERT, RoBERTa, XLM-RoBERTa): their weights, their heads, and the tower that runs prompts.

Such an encoder reads in both directions, so sentences share no start. Those of equal length are encoded together,
without padding.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlprompt.backbones.packing import Places, Sentences, lay_out
from vlprompt.backbones.text import TextTower
from vlprompt.backbones.tokenizer import Tokenizer
from vlprompt.errors import VLPromptError
from vlprompt.prompts import LowRankUpdates, TextPrompts

Activation = Callable[[Tensor], Tensor]
# By Hugging Face's names. "gelu" is the exact one.
ACTIVATIONS: dict[str, Activation] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
}
# RoBERTa's first position follows that of its padding token.
FAMILIES = ("bert", "roberta", "xlm-roberta")


@dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT-like encoder, with the field names and defaults of Hugging Face's `config.json`.

    Attributes:
        hidden_size: width of the tokens.
        num_hidden_layers: number of layers.
        num_attention_heads: number of attention heads.
        intermediate_size: width of the hidden layer of the MLPs.
        vocab_size: number of tokens.
        max_position_embeddings: number of positions.
        type_vocab_size: number of token types, of which the first is used.
        layer_norm_eps: epsilon of the layer norms.
        hidden_act: activation of the MLPs, one of `ACTIVATIONS`.
        pad_token_id: padding token.
        model_type: family, one of `FAMILIES`.
    """

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    vocab_size: int = 30522
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    pad_token_id: int = 0
    model_type: str = "bert"

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "BertConfig":
        """Return the sizes in the content of a `config.json`.

        Raises:
            VLPromptError: the family, the activation or the kind of positions is not supported.
        """
        config = cls(**{name: values[name] for name in cls.__dataclass_fields__ if values.get(name) is not None})
        if config.model_type not in FAMILIES:
            raise VLPromptError(
                f"text encoders of type {config.model_type!r} are not supported; supported are {', '.join(FAMILIES)}"
            )
        positions = values.get("position_embedding_type") or "absolute"
        if config.hidden_act not in ACTIVATIONS or positions != "absolute":
            raise VLPromptError(
                f"a text encoder with {config.hidden_act} activation and {positions} positions is not supported; "
                f"supported are absolute positions and {', '.join(ACTIVATIONS)}"
            )
        return config

    @property
    def first_position(self) -> int:
        """Position of the first token."""
        return 0 if self.model_type == "bert" else self.pad_token_id + 1


class Bert(nn.Module):
    """Weights of a BERT-like encoder under the names of Hugging Face's `BertModel`; `BertTextTower` runs them."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        width, eps = config.hidden_size, config.layer_norm_eps
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(config.vocab_size, width),
                "position_embeddings": nn.Embedding(config.max_position_embeddings, width),
                "token_type_embeddings": nn.Embedding(config.type_vocab_size, width),
                "LayerNorm": nn.LayerNorm(width, eps),
            }
        )
        layers = nn.ModuleList(_layer(config) for _ in range(config.num_hidden_layers))
        self.encoder = nn.ModuleDict({"layer": layers})


def _layer(config: BertConfig) -> nn.Module:
    width, eps = config.hidden_size, config.layer_norm_eps
    attention = nn.ModuleDict(
        {
            "self": nn.ModuleDict({part: nn.Linear(width, width) for part in ("query", "key", "value")}),
            "output": nn.ModuleDict({"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, eps)}),
        }
    )
    return nn.ModuleDict(
        {
            "attention": attention,
            "intermediate": nn.ModuleDict({"dense": nn.Linear(width, config.intermediate_size)}),
            "output": nn.ModuleDict(
                {
                    "dense": nn.Linear(config.intermediate_size, width),
                    "LayerNorm": nn.LayerNorm(width, eps),
                }
            ),
        }
    )


class TextHead(nn.Module, ABC):
    """Head that turns the states of a sentence into its feature: states (N, L, d_t) to features (N, D).

    The two steps are apart, since sentences of several lengths are pooled one length at a time and projected together.
    """

    @abstractmethod
    def pool(self, states: Tensor) -> Tensor:
        """Return vectors (N, d_t) of the last layer's states (N, L, d_t) of N sentences without padding."""

    @abstractmethod
    def project(self, pooled: Tensor) -> Tensor:
        """Return features (..., D) of pooled vectors (..., d_t)."""

    def forward(self, states: Tensor) -> Tensor:
        """Return features (N, D) of the last layer's states (N, L, d_t) of N sentences without padding."""
        return self.project(self.pool(states))


class Projection(TextHead):
    """Head that projects what it pools.

    Args:
        projection: maps pooled vectors (..., d_t) to features (..., D).
    """

    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        self.projection = projection

    def project(self, pooled: Tensor) -> Tensor:
        """Return features (..., D) of pooled vectors (..., d_t)."""
        features: Tensor = self.projection(pooled)
        return features


class MeanPooling(Projection):
    """Head that projects the mean of the tokens."""

    def pool(self, states: Tensor) -> Tensor:
        """Return the mean (N, d_t) of the states (N, L, d_t)."""
        return states.mean(1)


class FirstToken(Projection):
    """Head that projects the first token."""

    def pool(self, states: Tensor) -> Tensor:
        """Return the first token's state (N, d_t) of the states (N, L, d_t)."""
        return states[:, 0]


class BertTextModel(nn.Module):
    """BERT-like encoder with a head.

    Args:
        encoder: the encoder.
        head: pools and projects the last layer's states.
        output_dim: D.
    """

    def __init__(self, encoder: Bert, head: TextHead, output_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.output_dim = output_dim


class BertTextTower(TextTower):
    """BERT-like text encoder with a head that pools and projects.

    It takes context vectors in place of word embeddings at the first layer; positions, token types and the layer norm
    of the embeddings apply to them as to words. Deep prompts and low-rank updates are not supported.

    Args:
        text: encoder and head.
        tokenizer: its tokenizer.
    """

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
