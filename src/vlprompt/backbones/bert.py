"""BERT-like text encoders (BERT, RoBERTa, XLM-RoBERTa) and their heads, as modules that hold weights."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vlprompt.errors import VLPromptError

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


class ProjectionHead(TextHead):
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


class MeanPooling(ProjectionHead):
    """Head that projects the mean of the tokens."""

    def pool(self, states: Tensor) -> Tensor:
        """Return the mean (N, d_t) of the states (N, L, d_t)."""
        return states.mean(1)


class FirstToken(ProjectionHead):
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
