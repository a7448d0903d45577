"""Load pictoclip, the small CLIP model shipped with the package."""

import os
from pathlib import Path

from safetensors.torch import load

from vlprompt.backbones.sources.assets import read_asset
from vlprompt.backbones.sources.checkpoints import read_state_dict
from vlprompt.backbones.sources.openai import LoadedModel, build_clip
from vlprompt.backbones.tokenizer import clip_tokenizer
from vlprompt.errors import VLPromptError

NAME = "pictoclip"


def load_embedded() -> LoadedModel:
    """Load the embedded model after verifying its checksum, or the file given in `VLPROMPT_EMBEDDED`.

    The token table holds only rows seen in training; all other tokens have zero embeddings.

    Raises:
        VLPromptError: the file is missing or damaged.
    """
    replacement = os.environ.get("VLPROMPT_EMBEDDED")
    if replacement:
        path = Path(replacement).expanduser()
        if not path.is_file():
            raise VLPromptError(f"VLPROMPT_EMBEDDED must be an existing file, got {replacement!r}")
        weights = read_state_dict(path)
    else:
        weights = load(read_asset(NAME, "the embedded model"))
    model = build_clip(weights, quick_gelu=True)
    return LoadedModel(model, clip_tokenizer(model.context_length), NAME, image_size=model.visual.image_size[0])
