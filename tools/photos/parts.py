"""The two models that the map joins, from their packages."""

from dataclasses import dataclass

import timm
import torch
from tools.photos.encode import Encoder
from torch import Tensor

from vlprompt.backbones.bert import Bert
from vlprompt.backbones.sources import photos
from vlprompt.backbones.tokenizer import file_tokenizer


@dataclass(frozen=True)
class Parts:
    """Sentence encoder, and the unit rows (C, D) of the image classifier less their mean."""

    encoder: Encoder
    rows: Tensor


def load_parts() -> Parts:
    with torch.device("meta"):
        bert = Bert(photos.ENCODER)
        trunk = timm.create_model(photos.TRUNK.name, pretrained=False, num_classes=0)
    bert.load_state_dict(photos.sentence_weights(), assign=True)
    _, rows = photos.split_classifier(photos.classifier_weights(), trunk.state_dict())
    tokenizer = file_tokenizer(photos.VOCABULARY.locate(), photos.CONTEXT_LENGTH)
    return Parts(Encoder(bert.requires_grad_(False).eval(), tokenizer), rows)
