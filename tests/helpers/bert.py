"""Tiny BERT-like encoders of transformers with random weights, and a vocabulary for them."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer as FileTokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS += "a photo of the big dog cat ##s apple . sky red blue green leaf night".split()
WIDTH, LAYERS, HEADS = 32, 3, 4


def write_vocabulary(folder: Path) -> Path:
    """Write the files of a tokenizer of `WORDS`; return its `tokenizer.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = FileTokenizer(WordPiece({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    described = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder / "tokenizer.json"


def random_encoder(kind: str) -> nn.Module:
    """Return the `BertModel` or `RobertaModel` of transformers with random weights that are not small."""
    sizes = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 64,
        "vocab_size": len(WORDS),
        "max_position_embeddings": 40,
        "pad_token_id": 0,
    }
    model: nn.Module
    if kind == "bert":
        model = BertModel(BertConfig(**sizes), add_pooling_layer=False)
    else:
        model = RobertaModel(RobertaConfig(**sizes), add_pooling_layer=False)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval().requires_grad_(False)
