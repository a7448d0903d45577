"""One file for each published method, behind one contract.

Every module of this package is imported here, so that a method registers itself by being in a file. What plug-ins need
can be imported from here or from `vlprompt`.
"""

from importlib import import_module
from pkgutil import iter_modules

from vlprompt.methods.base import METHODS, LossTerms, Method, Prediction
from vlprompt.methods.create import create_method, list_methods
from vlprompt.methods.options import Options

__all__ = ["METHODS", "LossTerms", "Method", "Options", "Prediction", "create_method", "list_methods"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
