"""One file per published method, behind one contract."""

from vlprompt.methods import coop, dapt, zero_shot
from vlprompt.methods.base import (
    METHODS,
    LossTerms,
    Method,
    Options,
    Prediction,
    create_method,
    list_methods,
    method_options,
)

__all__ = [
    "METHODS",
    "LossTerms",
    "Method",
    "Options",
    "Prediction",
    "coop",
    "create_method",
    "dapt",
    "list_methods",
    "method_options",
    "zero_shot",
]
