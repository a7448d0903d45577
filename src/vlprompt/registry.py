"""The one registry: a name, and what stands behind it, from this package or from a plug-in."""

import difflib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from vlprompt.errors import VLPromptError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of one kind ("method", "dataset", ...) and the objects they stand for.

    A plug-in adds to it through the entry point group `vlprompt.<kind>s`, whose entry names are the names
    registered and whose values are the objects.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._plugins_loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files an object under `name`; a name taken twice is an error."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise VLPromptError(f"{self.kind} {name!r} is registered twice; give one of them another name")
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str) -> T:
        """What `name` stands for. Raises VLPromptError with the nearest names where there is none."""
        self._load_plugins()
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
        self._plugins_loaded = True
        for point in entry_points(group=f"vlprompt.{self.kind}s"):
            self.register(point.name)(point.load())
