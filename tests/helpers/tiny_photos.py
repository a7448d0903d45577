"""A tiny random model of the construction of the backbone `photos`."""

from pathlib import Path

import torch

from tests.helpers.bert import WORDS, write_vocabulary
from vlprompt.backbones.bert import BertConfig
from vlprompt.backbones.sources.openai import LoadedModel
from vlprompt.backbones.sources.photos import PREPROCESSING, build_photos
from vlprompt.backbones.tokenizer import file_tokenizer

SIZE = 32
ENCODER = BertConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=len(WORDS)
)


def tiny_photos(folder: Path) -> LoadedModel:
    """Return the model, with the files of its vocabulary in `folder`."""
    torch.manual_seed(0)
    model = build_photos("test_efficientnet", SIZE, ENCODER, hidden=4, names=12, classes=10)
    model.logit_scale.data.fill_(2.0)
    return LoadedModel(model, file_tokenizer(write_vocabulary(folder), 40), "photos", SIZE, PREPROCESSING)
