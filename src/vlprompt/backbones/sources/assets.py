"""Weights that ship with the package."""

import hashlib
from importlib.resources import files

from vlprompt.errors import VLPromptError


def read_asset(name: str, what: str) -> bytes:
    """Return the content of `assets/NAME.safetensors` after verifying its checksum.

    Args:
        name: name of the file without suffix.
        what: description of the file for errors, such as "the embedded model".

    Raises:
        VLPromptError: the file is missing or damaged.
    """
    assets = files("vlprompt") / "assets"
    try:
        content = (assets / f"{name}.safetensors").read_bytes()
        checksum = (assets / f"{name}.sha256").read_text().split()[0]
    except FileNotFoundError as error:
        raise VLPromptError(f"{what} is missing from this installation; reinstall vlprompt") from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise VLPromptError(f"{what}'s file is damaged (its checksum differs); reinstall vlprompt")
    return content
