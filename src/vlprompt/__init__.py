"""vlprompt: prompt tuning of vision-language models."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlprompt.errors import VLPromptError

if TYPE_CHECKING:
    from vlprompt.backbones.backbone import Backbone, list_backbones, load_backbone
    from vlprompt.classifier.classifier import Classifier, Guess, load
    from vlprompt.classifier.estimator import PromptClassifier
    from vlprompt.classifier.tune import tune
    from vlprompt.data.dataset import Dataset
    from vlprompt.data.loading import list_datasets, load_dataset
    from vlprompt.experiments.run import evaluate
    from vlprompt.methods.base import METHODS, LossTerms, Method, Prediction, create_method, list_methods
    from vlprompt.methods.options import Options
    from vlprompt.prompts import Adapters, LowRankUpdates, TextPrompts, VisualPrompts

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "Adapters",
    "Backbone",
    "Classifier",
    "Dataset",
    "Guess",
    "LossTerms",
    "LowRankUpdates",
    "Method",
    "Options",
    "Prediction",
    "PromptClassifier",
    "TextPrompts",
    "VLPromptError",
    "VisualPrompts",
    "create_method",
    "evaluate",
    "list_backbones",
    "list_datasets",
    "list_methods",
    "load",
    "load_backbone",
    "load_dataset",
    "tune",
]

_HOMES = {
    "vlprompt.backbones.backbone": ("Backbone", "list_backbones", "load_backbone"),
    "vlprompt.data.dataset": ("Dataset",),
    "vlprompt.data.loading": ("list_datasets", "load_dataset"),
    "vlprompt.classifier.classifier": ("Classifier", "Guess", "load"),
    "vlprompt.classifier.estimator": ("PromptClassifier",),
    "vlprompt.classifier.tune": ("tune",),
    "vlprompt.methods.base": ("METHODS", "LossTerms", "Method", "Prediction", "create_method", "list_methods"),
    "vlprompt.methods.options": ("Options",),
    "vlprompt.prompts": ("Adapters", "LowRankUpdates", "TextPrompts", "VisualPrompts"),
    "vlprompt.experiments.run": ("evaluate",),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is, so that `vlprompt --help` does not wait for torch."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
