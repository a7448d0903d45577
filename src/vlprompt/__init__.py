"""vlprompt: prompt tuning of vision-language models."""

from vlprompt.backbones import Backbone, load_backbone
from vlprompt.data import Dataset, list_datasets, load_dataset
from vlprompt.errors import VLPromptError
from vlprompt.methods import LossTerms, Method, Prediction, create_method, list_methods
from vlprompt.prompts import TextPrompts, VisualPrompts

__version__ = "0.1.0"

__all__ = [
    "Backbone",
    "Dataset",
    "LossTerms",
    "Method",
    "Prediction",
    "TextPrompts",
    "VLPromptError",
    "VisualPrompts",
    "create_method",
    "list_datasets",
    "list_methods",
    "load_backbone",
    "load_dataset",
]
