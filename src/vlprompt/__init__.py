"""Prompt tuning of vision-language models: a library, a command line and a benchmark.

The names below are the public API. Each is imported on first use, so that `import vlprompt` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlprompt.errors import VLPromptError

if TYPE_CHECKING:
    from vlprompt.backbones.backbone import Backbone, list_backbones, load_backbone
    from vlprompt.classifier.classifier import Classifier, Guess, load_classifier
    from vlprompt.classifier.estimator import PromptClassifier
    from vlprompt.classifier.tune import tune
    from vlprompt.config.recipes import list_recipes
    from vlprompt.data.dataset import Dataset
    from vlprompt.data.images import ImageError
    from vlprompt.data.loading import list_datasets, load_dataset
    from vlprompt.experiments.run import evaluate, run_experiment
    from vlprompt.methods.base import METHODS, LossTerms, Method, Prediction
    from vlprompt.methods.create import create_method, list_methods
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
    "ImageError",
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
    "list_recipes",
    "load_backbone",
    "load_classifier",
    "load_dataset",
    "run_experiment",
    "tune",
]

# Module of each public name; a static copy of the imports above.
_MODULES = {
    "vlprompt.backbones.backbone": ("Backbone", "list_backbones", "load_backbone"),
    "vlprompt.classifier.classifier": ("Classifier", "Guess", "load_classifier"),
    "vlprompt.classifier.estimator": ("PromptClassifier",),
    "vlprompt.classifier.tune": ("tune",),
    "vlprompt.config.recipes": ("list_recipes",),
    "vlprompt.data.dataset": ("Dataset",),
    "vlprompt.data.images": ("ImageError",),
    "vlprompt.data.loading": ("list_datasets", "load_dataset"),
    "vlprompt.experiments.run": ("evaluate", "run_experiment"),
    "vlprompt.methods.base": ("METHODS", "LossTerms", "Method", "Prediction"),
    "vlprompt.methods.create": ("create_method", "list_methods"),
    "vlprompt.methods.options": ("Options",),
    "vlprompt.prompts": ("Adapters", "LowRankUpdates", "TextPrompts", "VisualPrompts"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `vlprompt --help` does not wait for torch."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    """Include the names that are not imported yet, for completion."""
    return sorted({*globals(), *__all__})
