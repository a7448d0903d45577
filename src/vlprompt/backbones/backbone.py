"""A frozen dual encoder: what `load_backbone` returns and every method is built on."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vlprompt.backbones.sources.load import LoadedModel, Source, load_model
from vlprompt.backbones.text import TextTower
from vlprompt.backbones.tokenizer import Tokenizer
from vlprompt.backbones.vision import vision_tower
from vlprompt.data.transforms import eval_transform, train_transform
from vlprompt.errors import VLPromptError

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Backbone:
    """A frozen vision-language model, always in eval mode; its towers view the loaded weights.

    Attributes:
        name: short identity, such as "ViT-B-16/openai" or "pictoclip".
        source: what `load_backbone` was given, where that was a name or a path, else the name.
        embed_dim: D, the joint dimension.
        image_size: side of the square input in pixels.
        logit_scale: the model's own log scale s; logits are exp(s) times the cosine.
        text, vision: the towers. Both take prompts and return fp32 features that are not normalized.
        eval_transform, train_transform: PIL image to normalized tensor (3, image_size, image_size).
    """

    def __init__(
        self, loaded: LoadedModel, *, precision: Precision, device: torch.device, source: str | None = None
    ) -> None:
        self.model = loaded.model.requires_grad_(False).eval()
        self.name = loaded.name
        self.source = source or loaded.name
        self.precision = precision
        self.device = device
        if precision != "fp32":
            _ = self.weight_hash  # of the weights as loaded, before they are rounded
        self.model.to(device=device, dtype=DTYPES[precision])
        log_scale: Tensor = self.model.get_parameter("logit_scale")
        self.logit_scale = log_scale.detach().float().reshape(())
        self.image_size = loaded.image_size
        self.tokenize = loaded.tokenizer
        self.text = TextTower(self.model, loaded.tokenizer)
        self.vision = vision_tower(self.model)
        self.embed_dim = self.text.embed_dim
        size, mean, std, interpolation = loaded.image_size, loaded.mean, loaded.std, loaded.interpolation
        self.eval_transform = eval_transform(size, mean, std, interpolation=interpolation, squash=loaded.squash)
        self.train_transform = train_transform(size, mean, std, interpolation=interpolation)

    def __deepcopy__(self, memo: dict[int, object]) -> "Backbone":
        """Itself: nothing in it changes, and copies of what holds it need no weights of their own."""
        return self

    @cached_property
    def weight_hash(self) -> str:
        """SHA-256 over names, shapes and values of the weights as loaded."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Frozen text features (N, D), fp32, not normalized, of tokens (N, context length)."""
        return self.text(tokens)

    def encode_image(self, images: Tensor) -> Tensor:
        """Frozen image features (B, D), fp32, not normalized, of images (B, 3, image_size, image_size)."""
        return self.vision(images)

    @torch.no_grad()
    def template_features(self, template: str | Sequence[str], names: Sequence[str]) -> Tensor:
        """Unit text features (C, D) of hand-crafted prompts.

        Args:
            template: a sentence with `{}` for the name, or several: their unit features are averaged.
            names: C class names as words.
        """
        templates = [template] if isinstance(template, str) else list(template)
        total = torch.zeros(())
        for sentence in templates:
            features = self.encode_text(self.tokenize([sentence.format(name) for name in names]))
            total = total + F.normalize(features, dim=-1).cpu()
        return F.normalize(total, dim=-1).to(self.device)


def load_backbone(
    source: Source,
    precision: Precision = "fp32",
    device: str | torch.device = "auto",
    *,
    heads: tuple[int, int] | None = None,
    quick_gelu: bool | None = None,
    tokenizer: Tokenizer | None = None,
) -> Backbone:
    """Load a frozen dual encoder.

    Args:
        source: "embedded"; an open_clip pair such as "ViT-B-16/openai" (the second part a tag, or a local file); the
            path of an OpenAI `.pt` archive or state dict, of a `.safetensors` file, or of a Hugging Face CLIP folder;
            a state-dict mapping in OpenAI's naming; or a constructed open_clip model.
        precision: type of the frozen weights and activations. Prompts, features and losses stay in fp32.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the first accelerator there is.
        heads: attention heads (text, image) of a bare state dict, which does not say; default one per 64 of width.
        quick_gelu: activation of a bare state dict; default QuickGELU, as OpenAI's. Overrules an open_clip name.
        tokenizer: for weights whose vocabulary is not CLIP's.

    Raises:
        VLPromptError: the source is not known, cannot be read, or holds a family that is not supported.
    """
    chosen = resolve_device(device, precision)
    loaded = load_model(source, heads=heads, quick_gelu=quick_gelu, tokenizer=tokenizer)
    named = str(source) if isinstance(source, str | Path) else None
    return Backbone(loaded, precision=precision, device=chosen, source=named)


def list_backbones() -> list[str]:
    """Return every name that `load_backbone` takes: "embedded", then open_clip's NAME/TAG pairs."""
    from vlprompt.backbones.sources.open_clip import list_pretrained

    return ["embedded", *list_pretrained()]


def resolve_device(device: str | torch.device, precision: Precision) -> torch.device:
    """The device that a name stands for; "auto" takes an accelerator where there is one.

    Raises:
        VLPromptError: there is no such device or precision, or the two do not go together.
    """
    if precision not in DTYPES:
        raise VLPromptError(f"precision {precision!r} is not known; use one of {', '.join(DTYPES)}")
    chosen = _named_device(device)
    if precision == "fp16" and chosen.type == "cpu":
        raise VLPromptError("precision 'fp16' does not work on a CPU; use precision 'bf16' or 'fp32', or a CUDA device")
    return chosen


def _named_device(device: str | torch.device) -> torch.device:
    if device != "auto":
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise VLPromptError(f"device {device!r} is not known; use auto, cpu, cuda, cuda:N or mps") from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise VLPromptError(f"device {str(device)!r} is not available here; use --device cpu")
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
