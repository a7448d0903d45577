"""Read text files of people and spreadsheets: encodings, separators, and YAML whose scalars stay text."""

import codecs
import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

SEPARATORS = ",;\t"
NULLS = ("", "~", "null", "Null", "NULL")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, UTF-16 or UTF-32, with Unix line ends.

    UTF-16 is what spreadsheets call "Unicode text"; it is recognized without a byte order mark, too.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: it has another encoding.
    """
    content = path.read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if encoding is None:
        # In UTF-16, every ASCII character has a zero byte, which text in UTF-8 never has.
        zeros = [content[start:1000:2].count(0) for start in (0, 1)]
        encoding = "utf-8" if not any(zeros) else "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def separator_of(text: str) -> tuple[str, str]:
    r"""Return the separator of a table, guessed from its first line, and the table without a spreadsheet's `sep=` line.

    Examples:
        >>> separator_of("path;label\na,b.png;cat\n")[0]
        ';'
        >>> separator_of("sep=;\npath;label\n")
        (';', 'path;label\n')
    """
    first, _, rest = text.partition("\n")
    if declared := re.fullmatch(r'"?sep=(.)"?', first, re.IGNORECASE):
        return declared[1], rest
    return max(SEPARATORS, key=first.count), text


def read_rows(text: str, columns: int) -> list[list[str]]:
    r"""Return the cells of a table without header, skipping blank rows.

    The separator is the one that gives every row the same number of cells as `columns`, else the first line's.

    Raises:
        csv.Error: a row cannot be parsed.

    Examples:
        >>> read_rows("cat;a cat, or two\ndog;a dog\n", 2)
        [['cat', 'a cat, or two'], ['dog', 'a dog']]
    """
    guess, text = separator_of(text)
    tables = [
        [row for row in csv.reader(text.splitlines(), delimiter=separator) if any(cell.strip() for cell in row)]
        for separator in (guess, *SEPARATORS)
    ]
    return next((rows for rows in tables if all(len(row) == columns for row in rows)), tables[0])


def as_mapping(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return the pairs as a mapping, in which a key may be repeated with the same value.

    Raises:
        ValueError: a key has two values.
    """
    mapping: dict[Any, Any] = {}
    for key, value in pairs:
        if mapping.setdefault(key, value) != value:
            raise ValueError(f"{key!r} has two values, {mapping[key]!r} and {value!r}")
    return mapping


class _NamesLoader(yaml.SafeLoader):
    """YAML loader without guesses, anchors and tags: `no`, `010`, `12:30:45`, `*star` and `!` are text."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the base class's attribute
    fetch_alias = fetch_anchor = fetch_tag = yaml.SafeLoader.fetch_plain

    def check_plain(self) -> bool:
        """Begin a plain scalar with any character that has no other meaning, such as `@`."""
        return True

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping in which no key has two values."""
        mapping = super().construct_mapping(node, deep)
        as_mapping((self.construct_object(key), self.construct_object(value)) for key, value in node.value)
        return mapping


class _SettingsLoader(yaml.SafeLoader):
    """YAML loader without guesses, except that `null` is None."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the base class's attribute


_NULL = "tag:yaml.org,2002:null"
_NamesLoader.add_implicit_resolver(_NULL, re.compile("$"), [""])
_SettingsLoader.add_implicit_resolver(_NULL, re.compile(f"(?:{'|'.join(NULLS)})$"), ["", *"~nN"])


def parse_yaml_names(text: str) -> Any:
    r"""Parse YAML in which every scalar is text; an empty value is None.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: it is not YAML.

    Examples:
        >>> parse_yaml_names("n1: no\nn2: 010\nn3: 12:30:45")
        {'n1': 'no', 'n2': '010', 'n3': '12:30:45'}
    """
    return yaml.load(text, _NamesLoader)


def parse_yaml_settings(text: str) -> Any:
    """Parse YAML in which every scalar is text, except that `null`, `~` and an empty value are None.

    The field that a value is for decides what it means: pydantic reads numbers and booleans from text.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: it is not YAML.

    Examples:
        >>> parse_yaml_settings("{template: 'no {}', ctx_init: null, lr: 1e-3}")
        {'template': 'no {}', 'ctx_init': None, 'lr': '1e-3'}
    """
    return yaml.load(text, _SettingsLoader)
