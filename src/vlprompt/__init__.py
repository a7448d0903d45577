"""vlprompt: prompt tuning of vision-language models."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlprompt.errors import VLPromptError

if TYPE_CHECKING:
    from vlprompt.backbones import Backbone, load_backbone
    from vlprompt.data import Dataset, list_datasets, load_dataset
    from vlprompt.deploy.classifier import Classifier, Guess, load
    from vlprompt.deploy.estimator import PromptClassifier
    from vlprompt.deploy.tuning import tune
    from vlprompt.methods import LossTerms, Method, Prediction, create_method, list_methods
    from vlprompt.prompts import LowRankUpdates, TextPrompts, VisualPrompts
    from vlprompt.protocols import evaluate

__version__ = "0.1.0"

__all__ = [
    "Backbone",
    "Classifier",
    "Dataset",
    "Guess",
    "LossTerms",
    "LowRankUpdates",
    "Method",
    "Prediction",
    "PromptClassifier",
    "TextPrompts",
    "VLPromptError",
    "VisualPrompts",
    "create_method",
    "evaluate",
    "list_datasets",
    "list_methods",
    "load",
    "load_backbone",
    "load_dataset",
    "tune",
]

_HOMES = {
    "vlprompt.backbones": ("Backbone", "load_backbone"),
    "vlprompt.data": ("Dataset", "list_datasets", "load_dataset"),
    "vlprompt.deploy.classifier": ("Classifier", "Guess", "load"),
    "vlprompt.deploy.estimator": ("PromptClassifier",),
    "vlprompt.deploy.tuning": ("tune",),
    "vlprompt.methods": ("LossTerms", "Method", "Prediction", "create_method", "list_methods"),
    "vlprompt.prompts": ("LowRankUpdates", "TextPrompts", "VisualPrompts"),
    "vlprompt.protocols": ("evaluate",),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is, so that `vlprompt --help` does not wait for torch."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
