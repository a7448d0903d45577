"""Tiny CLIP models with random weights, and their features of a few images and texts."""

from dataclasses import dataclass

import open_clip
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Tiny:
    """A model with random weights, a few inputs, and open_clip's unit features of them."""

    model: open_clip.CLIP
    images: Tensor
    tokens: Tensor
    image_features: Tensor
    text_features: Tensor

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def assert_same(self, model: nn.Module) -> None:
        with torch.no_grad():
            image = model.encode_image(self.images, normalize=True)
            text = model.encode_text(self.tokens, normalize=True)
        torch.testing.assert_close(image, self.image_features, atol=1e-6, rtol=0)
        torch.testing.assert_close(text, self.text_features, atol=1e-6, rtol=0)


TEXT = {"width": 64, "heads": 1, "layers": 2}


def tiny(vision: dict[str, object], *, quick_gelu: bool = True, text: dict[str, object] | None = None) -> Tiny:
    """Build a CLIP of these configurations whose weights, biases and statistics are all random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = open_clip.CLIP(48, vision, text or TEXT, quick_gelu=quick_gelu).eval()
        with torch.no_grad():
            for value in model.parameters():
                value.add_(0.05 * torch.randn_like(value))
            for name, value in model.named_buffers():
                if name.endswith("running_mean"):
                    value.normal_(std=0.1)
                elif name.endswith("running_var"):
                    value.uniform_(0.5, 1.5)
        images = torch.randn(3, 3, int(vision["image_size"]), int(vision["image_size"]))
        tokens = open_clip.tokenize(["a photo of a cat.", "a tree"], context_length=model.context_length)
        with torch.no_grad():
            image_features = model.encode_image(images, normalize=True)
            text_features = model.encode_text(tokens, normalize=True)
    return Tiny(model, images, tokens, image_features, text_features)
