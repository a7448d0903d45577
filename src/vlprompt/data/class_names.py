"""Turn folder names and labels into class names for prompts."""

import csv
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import listed, one_line, read_problem
from vlprompt.utils.text_files import as_mapping, parse_yaml_names, read_rows, read_text

# Zero width non-joiner and joiner: invisible, but part of words in some scripts, and of emoji.
JOINERS = "\u200c\u200d"
# Letters and symbols that look like a space: fillers of Hangul, and the empty Braille pattern.
BLANKS = "\u115f\u1160\u3164\uffa0\u2800"

# Mapping from class folders (or labels) to words, or the path of its file.
NameMap = Mapping[str, str] | str | Path
NAME_MAP_SUFFIXES = (".json", ".yaml", ".yml", ".csv", ".tsv")


def as_words(names: Iterable[str]) -> tuple[str, ...]:
    """Return class names as words for prompts: without underscores, extra spaces and invisible characters.

    Raises:
        VLPromptError: `names` is not a sequence of strings, or a name is empty or duplicated.

    Examples:
        >>> as_words(["sea_lion", "Great Dane"])
        ('sea lion', 'Great Dane')
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise VLPromptError(f"`class_names` must be a list of names, got {names!r}")
    given = tuple(names)
    strange = [name for name in given if not isinstance(name, str)]
    if strange:
        raise VLPromptError(f"`class_names` must hold strings, got {strange[0]!r}; give each class a name")
    words = tuple(map(_words, given))
    if not words or not all(words):
        raise VLPromptError("`class_names` is empty or holds an empty name; give each class a name")
    twins = find_twins(words)
    if twins:
        one, other = (given[place] for place in twins)
        same = f"{one!r} twice" if one == other else f"{one!r} and {other!r}, which become the same name"
        raise VLPromptError(f"`class_names` holds {same}; give each class a different name")
    return words


def words_for(classes: Sequence[str], name_map: NameMap | None = None) -> tuple[str, ...]:
    """Return words for the classes of a source, from `name_map` or else from the names themselves.

    Args:
        classes: folder names or labels of the source.
        name_map: mapping from names to words, or its file. A class is looked up by its name as given, then as words;
            further entries are ignored.

    Raises:
        VLPromptError: `name_map` lacks a class, or two classes get the same words.

    Examples:
        >>> words_for(["n02099601", "tabby_cat"], {"n02099601": "golden retriever", "tabby_cat": "tabby"})
        ('golden retriever', 'tabby')
    """
    if name_map is None:
        words = tuple(map(_words, classes))
    else:
        mapping = read_name_map(name_map) if isinstance(name_map, str | Path) else name_map
        found = {_words(str(name)): value for name, value in mapping.items()} | dict(mapping)
        words = tuple(_words(str(found.get(name, found.get(_words(name), "")))) for name in classes)
        missing = [name for name, word in zip(classes, words, strict=True) if not word]
        if missing:
            raise VLPromptError(f"`name_map` has no words for {listed(missing)}; add an entry for each")
    empty = [name for name, word in zip(classes, words, strict=True) if not word]
    if empty:
        raise VLPromptError(f"class {empty[0]!r} has no words; rename it, or add words for it to `name_map`")
    twins = find_twins(words)
    if twins:
        one, other = twins
        raise VLPromptError(
            f"classes {classes[one]!r} and {classes[other]!r} are both called {words[one]!r}; give them different "
            "words with `name_map`"
        )
    return words


def find_twins(words: Sequence[str]) -> tuple[int, int] | None:
    """Return the labels of the first two classes whose words are equal after Unicode normalization, or None."""
    first: dict[str, int] = {}
    for place, word in enumerate(unicodedata.normalize("NFC", word) for word in words):
        if first.setdefault(word, place) != place:
            return first[word], place
    return None


def in_order(names: Iterable[str]) -> list[str]:
    """Sort class names into label order: by value if all of them are numbers, else alphabetically.

    Examples:
        >>> in_order(["10", "9", "1"])
        ['1', '9', '10']
    """
    found = sorted(names)
    return sorted(found, key=float) if are_numbers(found) else found


def are_numbers(names: Iterable[str]) -> bool:
    """Return whether all names are numbers without leading zeros, such as `9`, `-1` or `0.5`."""
    return all(re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", name, re.ASCII) for name in names)


def read_name_map(path: str | Path) -> dict[str, str]:
    """Read a file that maps class folders to words.

    A `.json` or `.yaml` file holds a mapping; a `.csv` or `.tsv` file two columns, folder and words, with or without a
    header, separated by commas, semicolons or tabs. All names are text: `no` and `010` stay as they are.

    Raises:
        VLPromptError: the file cannot be read, or does not hold such a mapping.
    """
    content = read_names_file(Path(path), "name_map", NAME_MAP_SUFFIXES)
    if not isinstance(content, dict) or not all(map(is_word, (*content, *content.values()))):
        raise VLPromptError(
            f"`name_map` {path} must map each class folder to its words, as in 'n02099601: golden retriever'"
        )
    return content


def read_names_file(path: Path, parameter: str, suffixes: Sequence[str]) -> Any:
    """Return the content of a file with class names, all of them text.

    A table is returned as a mapping, a .txt file as its lines, and a .json or .yaml file as whatever it holds.

    Args:
        path: the file.
        parameter: name of the parameter in error messages.
        suffixes: allowed suffixes.

    Raises:
        VLPromptError: the file cannot be read, or is not of its format.
    """
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        allowed = f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"
        raise VLPromptError(f"`{parameter}` must be a {allowed} file, got {suffix or path.name!r}")
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise VLPromptError(f"`{parameter}` {path} cannot be read: {read_problem(error)}") from error
    try:
        match suffix:
            case ".json":
                return json.loads(
                    text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=as_mapping
                )
            case ".yaml" | ".yml":
                return parse_yaml_names(text)
            case ".txt":
                return text.splitlines()
        rows = read_rows(text, 2)
        wrong = next((row for row in rows if len(row) != 2), None)
        if wrong is None:
            return as_mapping((folder.strip(), words) for folder, words in rows)
    except (ValueError, RecursionError, csv.Error, yaml.YAMLError) as error:
        raise VLPromptError(f"`{parameter}` {path} cannot be parsed: {one_line(error)}") from error
    raise VLPromptError(f"`{parameter}` {path} must have two columns, folder and words; got {','.join(wrong)!r}")


def is_word(value: object) -> bool:
    """Return whether a value from a file can be a class name: text in valid Unicode."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


def _words(name: str) -> str:
    """Return a name without underscores and invisible characters; "" if nothing visible is left."""
    shown = "".join(" " if letter in BLANKS else letter for letter in name.replace("_", " "))
    words = " ".join("".join(letter for letter in shown if _is_shown(letter)).split())
    return words if any(unicodedata.category(letter)[0] in "LNPS" for letter in words) else ""


def _is_shown(letter: str) -> bool:
    return letter.isspace() or letter in JOINERS or unicodedata.category(letter) not in ("Cc", "Cf")
