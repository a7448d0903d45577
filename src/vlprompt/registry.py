"""`Registry`, which holds methods or datasets by name, from this package and from plug-ins."""

import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import did_you_mean, one_line

logger = logging.getLogger("vlprompt")

T = TypeVar("T")


class Registry(Generic[T]):
    """Objects of one kind ("method", "dataset", ...), registered by name.

    Plug-ins add objects through the entry point group `vlprompt.<kind>s`: the entry's name is the registered name, its
    value is the object. A plug-in that cannot be loaded is logged and left out.

    Args:
        kind: kind of object, used in messages and in the entry point group.
        base: class that every entry must be a subclass of; None for entries that are not classes. A class that
            does not define `name` gets the registered name as its `name`.

    Examples:
        >>> numbers = Registry("number")
        >>> @numbers.register("one")
        ... def one() -> int:
        ...     return 1
        >>> numbers.get("one")()
        1
        >>> numbers.names()
        ['one']
    """

    def __init__(self, kind: str, base: type | None = None) -> None:
        self.kind = kind
        self.base = base
        self._entries: dict[str, T] = {}
        self._broken: dict[str, str] = {}
        self._plugins_loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an object under `name`.

        Raises:
            VLPromptError: another object is registered under `name`.
        """

        def add(entry: T) -> T:
            if self._entries.get(name, entry) is not entry:
                raise VLPromptError(f"{self.kind} {name!r} is already registered; choose another name")
            self._entries[name] = entry
            if self.base is not None and "name" not in vars(entry):
                named: Any = entry
                named.name = name
            return entry

        return add

    def get(self, name: str) -> T:
        """Return the object that is registered under `name`.

        Raises:
            VLPromptError: the name is unknown (the message suggests a similar one), or its plug-in cannot be loaded.
        """
        self._load_plugins()
        if name in self._broken:
            raise VLPromptError(self._broken[name])
        if name not in self._entries:
            hint = did_you_mean(name, self._entries) or f"choose from {', '.join(self.names())}"
            raise VLPromptError(f"unknown {self.kind} {name!r}; {hint}")
        return self._entries[name]

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        self._load_plugins()
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        self._load_plugins()
        return name in self._entries

    def _load_plugins(self) -> None:
        if self._plugins_loaded:
            return
        points = sorted(entry_points(group=f"vlprompt.{self.kind}s"), key=lambda point: (point.name, _package(point)))
        owners = {name: "vlprompt" for name, entry in self._entries.items() if _is_ours(entry)}
        # Check before loading anything, so that every call reports a name claimed by two packages.
        for point in points:
            owner = owners.setdefault(point.name, _package(point))
            if owner != _package(point):
                raise VLPromptError(
                    f"{self.kind} {point.name!r} is provided by two packages, {owner} and {_package(point)}; uninstall "
                    "or rename one of them"
                )
        self._plugins_loaded = True
        for point in points:
            self._load(point)

    def _load(self, point: EntryPoint) -> None:
        try:
            entry = point.load()
            if self.base is not None and not (isinstance(entry, type) and issubclass(entry, self.base)):
                raise TypeError(f"{point.value} is not a subclass of {self.base.__name__}")
            self.register(point.name)(entry)
        except Exception as error:  # third-party code can raise anything; one bad plug-in must not break the rest
            reason = f"{self.kind} {point.name!r} of package {_package(point)} cannot be loaded: {one_line(error)}"
            self._broken[point.name] = reason
            logger.warning(reason)


def _is_ours(entry: object) -> bool:
    return getattr(entry, "__module__", "").split(".")[0] == "vlprompt"


def _package(point: EntryPoint) -> str:
    return "?" if point.dist is None else point.dist.name
