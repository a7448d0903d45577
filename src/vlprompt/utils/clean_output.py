"""Escape control characters in text that is printed.

Names of files and classes may come from anybody, and reach the terminal in tables, messages, progress bars and errors.
So they are escaped where text is printed: `CleanStream` wraps standard output and standard error of the commands, and
rich, which writes control sequences of its own, prints through `utils.terminal.CleanConsole`.
"""

import re
from collections.abc import Iterable
from typing import Any, TextIO

# Characters that a terminal interprets or hides: control characters except tab and line feed, Unicode's marks of
# writing direction and its line breaks, and surrogates.
CONTROL_CHARACTERS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def escape_controls(text: str) -> str:
    r"""Return text with control characters as escapes, which are valid in JSON.

    Examples:
        >>> print(escape_controls("a\x1b[2Jb"))
        a\u001b[2Jb
    """
    return CONTROL_CHARACTERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_line(text: str) -> str:
    r"""Return a message as one line, so that no name in it can look like another message.

    Examples:
        >>> print(as_line("cannot read a\nerror: all is well"))
        cannot read a\nerror: all is well
    """
    return escape_controls(text).replace("\n", r"\n")


class CleanStream:
    """Text stream that escapes control characters and otherwise behaves like `stream`."""

    def __init__(self, stream: TextIO) -> None:
        # rich writes its own control sequences to the stream in this attribute.
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write text, escaped."""
        return self.rich_proxied_file.write(escape_controls(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines, escaped."""
        self.rich_proxied_file.writelines(map(escape_controls, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)
