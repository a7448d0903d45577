"""Text towers of open_clip models that come from Hugging Face (BiomedCLIP, multilingual CLIPs), as `BertTextModel`.

Neither transformers nor a network is needed for the weights: sizes come from a folder's `config.json`, or from the
table of the encoders that published models use.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.hf_model import HFTextEncoder
from torch import Tensor, nn

from vlprompt.backbones.bert import Bert, BertConfig, BertTextModel, FirstToken, MeanPooling, TextHead
from vlprompt.errors import VLPromptError

_ROBERTA = {"model_type": "roberta", "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
_ROBERTA |= {"vocab_size": 50265, "pad_token_id": 1}
_XLM = _ROBERTA | {"model_type": "xlm-roberta", "vocab_size": 250002}
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
# Encoders of published open_clip models. Sizes that are not given are BERT-base's.
KNOWN: dict[str, dict[str, Any]] = {
    "bert-base-uncased": {},
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract": {},
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract": {},
    "roberta-base": _ROBERTA,
    "xlm-roberta-base": _XLM,
    "xlm-roberta-large": _XLM | _LARGE,
}
HEADS: dict[str, Callable[[nn.Module], TextHead]] = {
    "mean_pooler": MeanPooling,
    "cls_last_hidden_state_pooler": FirstToken,
}
_RENAMED = {"text.transformer.": "text.encoder.", "text.proj.": "text.head.projection."}
# Constants in files of older versions, and a pooler that these models do not run.
_UNUSED = ("text.transformer.embeddings.position_ids", "text.transformer.pooler.")


def build_text(text_cfg: Mapping[str, Any], embed_dim: int) -> BertTextModel:
    """Build the text tower that an open_clip configuration describes, with random weights.

    Args:
        text_cfg: the `text_cfg` of the configuration, with `hf_model_name`.
        embed_dim: joint dimension, D.

    Raises:
        VLPromptError: the encoder is unknown, or it or its head is not supported.
    """
    config = _config(str(text_cfg["hf_model_name"]))
    return _with_head(
        Bert(config), text_cfg.get("hf_pooler_type") or "mean_pooler", text_cfg.get("hf_proj_type", "mlp"), embed_dim
    )


def adopt_text(text: HFTextEncoder) -> BertTextModel:
    """Return the text tower of an open_clip model, which shares the tensors of `text`.

    Raises:
        VLPromptError: the encoder or its head is not supported.
    """
    pooler = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(text.pooler).__name__)[1:]
    kinds = {nn.Identity: None, nn.Linear: "linear", nn.Sequential: "mlp"}
    with torch.device("meta"):
        model = _with_head(
            Bert(BertConfig.read(text.config.to_dict())), pooler, kinds[type(text.proj)], text.output_dim
        )
    state = rename({f"text.{name}": value for name, value in text.state_dict().items()})
    model.load_state_dict({name.removeprefix("text."): value for name, value in state.items()}, assign=True)
    return model


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of an open_clip model with a Hugging Face text tower to those of a `BertTextModel`."""
    renamed = {}
    for name, value in state.items():
        if not name.startswith(_UNUSED):
            prefix = next((prefix for prefix in _RENAMED if name.startswith(prefix)), "")
            renamed[_RENAMED.get(prefix, "") + name.removeprefix(prefix)] = value
    return renamed


def check_encoder(text_cfg: Mapping[str, Any]) -> None:
    """Raise VLPromptError if the encoder that an open_clip configuration names is known not to be supported."""
    name = str(text_cfg["hf_model_name"])
    if any(family in name for family in ("t5", "nllb")):
        raise VLPromptError(f"text encoders like {name} are not supported; supported are BERT, RoBERTa and XLM-RoBERTa")


def _with_head(encoder: Bert, pooler: str, projection: str | None, embed_dim: int) -> BertTextModel:
    if pooler not in HEADS:
        raise VLPromptError(
            f"the pooling {pooler!r} of a text encoder is not supported; supported are {', '.join(HEADS)}"
        )
    return BertTextModel(
        encoder, HEADS[pooler](_projection(projection, encoder.config.hidden_size, embed_dim)), embed_dim
    )


def _projection(kind: str | None, width: int, embed_dim: int) -> nn.Module:
    if kind == "linear":
        return nn.Linear(width, embed_dim, bias=False)
    if kind == "mlp":
        hidden = (width + embed_dim) // 2
        return nn.Sequential(nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, embed_dim, bias=False))
    if kind is None and width == embed_dim:
        return nn.Identity()
    raise VLPromptError(
        f"the projection {kind!r} from {width} to {embed_dim} is not supported; supported are linear and mlp"
    )


def _config(name: str) -> BertConfig:
    path = Path(name).expanduser() / "config.json"
    if path.is_file():
        try:
            return BertConfig.read(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise VLPromptError(f"{path} does not describe a text encoder ({error})") from error
    if name not in KNOWN:
        raise VLPromptError(
            f"the sizes of the text encoder {name!r} are unknown; put its config.json into a folder, and name that "
            "folder as hf_model_name in open_clip_config.json"
        )
    return BertConfig.read(KNOWN[name])
