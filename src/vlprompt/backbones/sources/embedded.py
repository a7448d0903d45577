"""Load pictoclip, the small CLIP model shipped with the package."""

import hashlib
import os
from importlib.resources import files
from pathlib import Path

from safetensors.torch import load

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
        weights = load(_verified_asset())
    model = build_clip(weights, quick_gelu=True)
    return LoadedModel(model, clip_tokenizer(model.context_length), NAME, image_size=model.visual.image_size[0])


def _verified_asset() -> bytes:
    assets = files("vlprompt") / "assets"
    try:
        content = (assets / f"{NAME}.safetensors").read_bytes()
        checksum = (assets / f"{NAME}.sha256").read_text().split()[0]
    except FileNotFoundError as error:
        raise VLPromptError("the embedded model is missing from this installation; reinstall vlprompt") from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise VLPromptError("the embedded model's file is damaged (its checksum differs); reinstall vlprompt")
    return content
