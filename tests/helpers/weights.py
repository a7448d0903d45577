"""Write weight files of tiny models."""

from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file


def write_weights(path: Path, layers: int) -> Path:
    """Write random weights in OpenAI's naming: 32 px, patch 8, both widths 64."""
    torch.manual_seed(0)
    image = {"image_size": 32, "patch_size": 8, "width": 64, "layers": layers}
    model = open_clip.CLIP(32, image, {"width": 64, "heads": 1, "layers": layers}, quick_gelu=True)
    save_file(model.state_dict(), path)
    return path
