"""The one registry: a name, and what stands behind it, from this package or from a plug-in."""

import difflib
import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from vlprompt.errors import VLPromptError

logger = logging.getLogger("vlprompt")

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of one kind ("method", "dataset", ...) and the objects they stand for.

    A plug-in adds to it through the entry point group `vlprompt.<kind>s`, whose entry names are the names
    registered and whose values are the objects. One that cannot be loaded is logged and left out.

    Attributes:
        kind: what its names are names of.
        base: the class that every entry has to be a subclass of; None: entries are no classes.
    """

    def __init__(self, kind: str, base: type | None = None) -> None:
        self.kind = kind
        self.base = base
        self._entries: dict[str, T] = {}
        self._broken: dict[str, str] = {}
        self._plugins_loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files an object under `name`; a name given to two objects is an error."""

        def add(entry: T) -> T:
            if self._entries.get(name, entry) is not entry:
                raise VLPromptError(f"{self.kind} {name!r} is registered twice; give one of them another name")
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str) -> T:
        """What `name` stands for. Raises VLPromptError with the nearest names where there is none."""
        self._load_plugins()
        if name in self._broken:
            raise VLPromptError(self._broken[name])
        if name not in self._entries:
            close = difflib.get_close_matches(name, self._entries, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "have:"
            raise VLPromptError(f"unknown {self.kind} {name!r}; {hint} {', '.join(self.names())}")
        return self._entries[name]

    def names(self) -> list[str]:
        """All names, sorted."""
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
        # Before anything is loaded, so that a clash does not depend on who asks first, and is found by all who ask.
        for point in points:
            owner = owners.setdefault(point.name, _package(point))
            if owner != _package(point):
                raise VLPromptError(
                    f"{self.kind} {point.name!r} is in two packages, {owner} and {_package(point)}; uninstall one of "
                    "them, or have it renamed"
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
        except Exception as error:  # another package's code, which must not take ours along
            reason = " ".join(str(error).split()) or type(error).__name__
            self._broken[point.name] = (
                f"{self.kind} {point.name!r} of package {_package(point)} cannot be loaded: {reason}"
            )
            logger.warning(self._broken[point.name])


def _is_ours(entry: object) -> bool:
    return getattr(entry, "__module__", "").split(".")[0] == "vlprompt"


def _package(point: EntryPoint) -> str:
    return "?" if point.dist is None else point.dist.name
