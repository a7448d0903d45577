"""Published methods, one module each, behind the `Method` interface.

All modules are imported here, so that every method registers itself.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
