"""One file for each published method, behind one contract.

All modules of this package are imported here, so that every method registers itself.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
